"""Destinations with the usual layout are decoded by a short cut, with the same result as the long way."""

import random

from hypothesis import example, given
from hypothesis import strategies as st

from lvs_healthd.ipvs.kernel import codec
from lvs_healthd.ipvs.kernel.genetlink import GarbledMessageError, attribute
from lvs_healthd.ipvs.kernel.statistics import server_row
from lvs_healthd.ipvs.records import DestinationRecord
from lvs_healthd.ipvs.words import AF_INET, AF_INET6

GENL = bytes(4)


def message(seed: int, family: int) -> bytes:
    """Return a destination's message with the kernel's usual layout and random values."""
    chance = random.Random(seed)
    body = b""
    for kind, size in codec._USUAL_ORDER:
        value = chance.randbytes(size)
        if kind == codec._DEST_ADDR_FAMILY:
            value = family.to_bytes(2, "little")
        elif kind == codec._DEST_FWD_METHOD:
            value = chance.randrange(5).to_bytes(4, "little")
        elif size == 120:
            value = b"".join(attribute(number, chance.randbytes(8)) for number in range(1, 11))
        body += attribute(kind, value)
    return GENL + attribute(codec._DEST, body)


def the_long_way(payload: bytes) -> tuple[DestinationRecord, bytes]:
    found = codec._nested(payload, codec._DEST)
    return codec._destination(payload, found, AF_INET), server_row(payload, found)


def outcome(decode: object, payload: bytes) -> object:
    try:
        return decode(payload)  # type: ignore[operator]
    except GarbledMessageError:
        return "garbled"


def the_short_cut(payload: bytes) -> tuple[DestinationRecord, bytes]:
    return codec.decode_counted_destination(payload, AF_INET)


@given(st.integers(0, 2**32), st.sampled_from([AF_INET, AF_INET6]))
def test_the_usual_layout_is_recognised_and_decodes_the_same_both_ways(seed: int, family: int) -> None:
    payload = message(seed, family)
    assert len(payload) == codec._USUAL_BYTES
    assert codec._USUAL_HEADERS.unpack_from(payload) == codec._USUAL
    assert the_short_cut(payload) == the_long_way(payload)


@example(seed=0, changes=[(120, 0)])  # the family of the server is 0, which stands for the family of the service
@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(4, 339), st.integers(0, 255)), min_size=1, max_size=4))
def test_altered_bytes_decode_the_same_both_ways(seed: int, changes: list[tuple[int, int]]) -> None:
    payload = bytearray(message(seed, AF_INET))
    for place, value in changes:
        payload[place] = value
    assert outcome(the_short_cut, bytes(payload)) == outcome(the_long_way, bytes(payload))
