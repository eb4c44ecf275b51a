"""How the bytes of one input are read: the last ones say how a peer behaves, and those before are what it says.

The control bytes are at the end, so that a fuzzer which inserts and removes bytes in an answer keeps them.
"""

from collections.abc import Iterator
from typing import NamedTuple

CONTROL_BYTES = 8
"""How many bytes at the end of an input are control bytes."""

MOST_REPEATED = 65536
"""How long an answer becomes by repetition at most, bytes. It is what the engine reads from a socket at once."""

PART = b"~~"
"""What separates two parts of an answer that must not arrive together, such as the answers to two requests."""

_REPEATS_FROM = 0xFC
"""Control bytes below this repeat nothing, because a repetition takes as long as hundreds of ordinary inputs."""

_PIECES_AT_MOST = 4096
"""Into how many pieces an answer is cut at most."""


class Control(NamedTuple):
    """The control bytes of an input, each from 0 to 255."""

    variant: int = 0
    """Which check is probed, of those that the subject has."""
    size: int = 0
    """The size of the pieces in which the answer arrives, bytes; 0 for all at once."""
    other_size: int = 0
    """The size of every second piece; 0 for the same."""
    ending: int = 0
    """How the conversation ends (`endings.ENDINGS`)."""
    repeat: int = 0
    """Whether a part of the answer is repeated until it is as long as one read."""
    begin: int = 0
    """Where that part begins, in 256th of the answer."""
    length: int = 0
    """How long that part is, bytes, less one."""
    manner: int = 0
    """What the peer does besides. Its meaning is the subject's own."""


def with_control(answer: bytes, **control: int) -> bytes:
    """Return an input: an answer with control bytes."""
    return answer + bytes(Control(**control))


def repeating(before: bytes, part: bytes, after: bytes = b"", **control: int) -> bytes:
    """Return an input in which a part of the answer is repeated until the answer is as long as one read."""
    answer = before + part + after
    begin = -(-len(before) * 256 // len(answer))
    if begin * len(answer) // 256 != len(before):
        raise ValueError("too long an answer to say where the part begins")
    return with_control(answer, repeat=_REPEATS_FROM, begin=begin, length=len(part) - 1, **control)


def split(data: bytes) -> tuple[bytes, Control]:
    """Return the answer and the control bytes of an input. Missing ones are 0."""
    control = Control(*data[-CONTROL_BYTES:].ljust(CONTROL_BYTES, b"\0"))
    return _repeated(data[:-CONTROL_BYTES], control), control


def _repeated(answer: bytes, control: Control) -> bytes:
    if control.repeat < _REPEATS_FROM or not answer:
        return answer
    begin = control.begin * len(answer) // 256
    part = answer[begin : begin + control.length + 1]
    times = max(0, MOST_REPEATED - len(answer)) // len(part)
    return answer[:begin] + part * times + answer[begin:]


def pieces(answer: bytes, control: Control) -> Iterator[bytes]:
    """Cut an answer into the pieces in which it arrives. A `PART` in it ends a piece, and arrives itself nowhere."""
    for part in answer.split(PART):
        yield from cut(part, control)


def cut(data: bytes, control: Control) -> Iterator[bytes]:
    """Cut bytes into pieces of the sizes that `control` gives."""
    least = len(data) // _PIECES_AT_MOST + 1
    size = max(control.size, least) if control.size else max(len(data), 1)
    sizes = (size, max(control.other_size, least) if control.other_size else size)
    position = number = 0
    while position < len(data):
        end = position + sizes[number % 2]
        yield data[position:end]
        position, number = end, number + 1
