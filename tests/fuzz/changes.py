"""Changes inputs by chance, for runs without a fuzzer that sees what they reach."""

import random
from collections.abc import Iterator, Sequence

from tests.fuzz.control import CONTROL_BYTES

_MOST_CHANGES = 4
_LONGEST = 4096
"""How long an input becomes at most, bytes."""


def changed(inputs: Sequence[bytes], words: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Yield changed inputs without end. The same seed gives the same ones."""
    chance = random.Random(seed)
    while True:
        data = bytearray(chance.choice(inputs))
        for _ in range(chance.randint(1, _MOST_CHANGES)):
            _change(data, inputs, words, chance)
        yield bytes(data[:_LONGEST])


def _change(data: bytearray, inputs: Sequence[bytes], words: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randint(0, len(data))
    match chance.randrange(6):
        case 0 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(data):
            del data[at : at + chance.randint(1, 16)]
        case 2 if words:
            data[at:at] = chance.choice(words)
        case 3:
            data[at:at] = chance.randbytes(chance.randint(1, 8))
        case 4:  # another answer goes on in the middle of this one
            other = chance.choice(inputs)
            data[at:] = other[chance.randint(0, len(other)) :]
        case _:
            behaviour = range(max(0, len(data) - CONTROL_BYTES), len(data))
            if behaviour:
                data[chance.choice(behaviour)] = chance.choice((0, 1, 2, 0x7F, 0xFF, chance.randrange(256)))
