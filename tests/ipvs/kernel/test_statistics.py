"""Statistics as Linux 6.1 sends them, from recorded bytes, and as older and other kernels send them."""

import json
import random
import struct

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple, replace

from bench.recorded_kernel import RECORDED
from lvs_healthd.ipvs.kernel import codec, genetlink
from lvs_healthd.ipvs.kernel.genetlink import attribute
from lvs_healthd.ipvs.kernel.statistics import NOTHING, ServiceStatistics, Statistics, encoded
from lvs_healthd.ipvs.words import AF_INET
from tests.ipvs.tables import server, service

SOME = Statistics(1, 2, 3, 4, 5, 6, 7, 2**40, 8, 9, 10, 11, 12)
GENL = bytes(4)
WIDE_IN_OLD = (4, 5)
"""Indices of the byte counters, which have 64 bits in the old attribute too."""


def recorded(name: str) -> bytes:
    """Return the first message of a dump that was recorded from the lab's kernel."""
    message, *_ = genetlink.messages(bytes.fromhex(json.loads(RECORDED.read_text(encoding="ascii"))[name]))
    return message.payload


def nested(payload: bytes) -> dict[int, bytes]:
    ((start, end),) = genetlink.attributes(payload, 4, len(payload)).values()
    return {kind: payload[first:last] for kind, (first, last) in genetlink.attributes(payload, start, end).items()}


def message(kind: int, values: dict[int, bytes]) -> bytes:
    return GENL + attribute(kind, b"".join(attribute(inner, value) for inner, value in values.items()))


def wide(counted: Statistics) -> dict[int, bytes]:
    return {kind: attribute(kind, struct.pack("=Q", number)) for kind, number in enumerate(astuple(counted)[3:], 1)}


def old(counted: Statistics) -> dict[int, bytes]:
    return {
        kind: attribute(kind, struct.pack("=Q" if kind in WIDE_IN_OLD else "=I", number))
        for kind, number in enumerate(astuple(counted)[3:], 1)
    }


def destination(counted: Statistics = SOME) -> dict[int, bytes]:
    """Return the recorded destination with its counters replaced by `counted`."""
    connections = {7 + number: struct.pack("=I", astuple(counted)[number]) for number in range(3)}
    stats = {10: b"".join(old(counted).values()), 12: b"".join(wide(counted).values())}
    return {**nested(recorded("destinations")), **connections, **stats}


def read(values: dict[int, bytes]) -> Statistics:
    """Decode a destination's message the way the client does."""
    record, row = codec.decode_counted_destination(message(2, values), AF_INET)
    return Statistics(*ServiceStatistics((record.key,), NOTHING + row).servers()[record.key])


@given(st.tuples(*[st.integers(0, 2**32 - 1)] * 3, *[st.integers(0, 2**64 - 1)] * 10))
def test_every_number_is_found_in_its_place(numbers: tuple[int, ...]) -> None:
    counted = Statistics(*numbers)
    values = destination(SOME) | {7 + number: struct.pack("=I", astuple(counted)[number]) for number in range(3)}
    assert read(values | {12: b"".join(wide(counted).values())}) == counted
    assert ServiceStatistics((), encoded(counted)).service() == counted


def test_column_is_one_field_of_every_server() -> None:
    other = Statistics(*range(101, 114))
    found = ServiceStatistics((), encoded(SOME) + encoded(other) + encoded(SOME))
    for field in Statistics.__struct_fields__:
        assert found.column(field) == [getattr(other, field), getattr(SOME, field)]


def test_recorded_server_has_counted_nothing_and_its_record_is_what_it_was() -> None:
    payload = recorded("destinations")
    record, row = codec.decode_counted_destination(payload, AF_INET)
    assert record == codec.decode_destination(payload, AF_INET) == server("198.51.100.11", 7, port=8080)
    assert Statistics(*ServiceStatistics((record.key,), NOTHING + row).servers()[record.key]) == Statistics(*[0] * 13)


def test_services_own_counters_are_not_taken_for_connections() -> None:
    # In a service, flags, timeout and netmask have the attribute numbers that connection counts have in a server.
    values = {**nested(recorded("services")), 12: b"".join(wide(SOME).values())}
    record, row = codec.decode_counted_service(message(1, values))
    assert record == service(scheduler="rr")
    assert ServiceStatistics((), row).service() == replace(
        SOME, active_connections=0, inactive_connections=0, persistent_connections=0
    )


def test_kernel_before_4_1_has_32_bits() -> None:
    values = destination()
    del values[12]
    assert read(values) == SOME


def test_kernel_that_pads_64_bits_is_understood() -> None:
    padded = b"".join(attribute(11, b"") + each for each in wide(SOME).values())
    assert read(destination() | {12: padded}) == SOME


def test_order_of_attributes_does_not_matter() -> None:
    for seed in range(20):
        source = random.Random(seed)
        inner, outer = list(wide(SOME).values()), list((destination() | {12: b""}).items())
        source.shuffle(inner)
        source.shuffle(outer)
        assert read(dict(outer) | {12: b"".join(inner)}) == SOME


def test_what_a_kernel_does_not_say_is_0() -> None:
    values = {kind: value for kind, value in destination().items() if kind not in (8, 10, 12)}
    assert read(values) == Statistics(1, 0, 3, *[0] * 10)


def test_row_is_small() -> None:
    """Every server of the table has a row, and a resync may read 10 000."""
    assert len(NOTHING) == len(encoded(SOME)) == 140
