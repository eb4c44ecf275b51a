"""Destinations with the usual layout are decoded by a short cut, with the same result as the long way."""

import functools
import itertools
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lvs_healthd.ipvs.kernel import codec
from lvs_healthd.ipvs.kernel.genetlink import GarbledMessageError, attribute
from lvs_healthd.ipvs.kernel.known import Found, Known
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
        if kind == codec.DEST_ADDR_FAMILY:
            value = family.to_bytes(2, "little")
        elif kind == codec._DEST_FWD_METHOD:
            value = chance.randrange(5).to_bytes(4, "little")
        elif size == 120:
            value = b"".join(attribute(number, chance.randbytes(8)) for number in range(1, 11))
        body += attribute(kind, value)
    return GENL + attribute(codec.DEST, body)


def the_long_way(payload: bytes) -> tuple[DestinationRecord, bytes]:
    found = codec._nested(payload, codec.DEST)
    return codec._destination(payload, found, AF_INET), server_row(payload, found)


def outcome(decode: Callable[[], object]) -> object:
    try:
        return decode()
    except GarbledMessageError:
        return "garbled"


def the_short_cut(payload: bytes) -> tuple[DestinationRecord, bytes]:
    return codec.decode_counted_destination(payload, AF_INET)


@given(st.integers(0, 2**32), st.sampled_from([AF_INET, AF_INET6]))
def test_the_usual_layout_is_recognised_and_decodes_the_same_both_ways(seed: int, family: int) -> None:
    payload = message(seed, family)
    assert len(payload) == codec.USUAL_BYTES
    assert codec._USUAL_HEADERS.unpack_from(payload) == codec._USUAL
    assert the_short_cut(payload) == the_long_way(payload)


@example(seed=0, changes=[(120, 0)])  # the family of the server is 0, which stands for the family of the service
@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(4, 339), st.integers(0, 255)), min_size=1, max_size=4))
def test_altered_bytes_decode_the_same_both_ways(seed: int, changes: list[tuple[int, int]]) -> None:
    payload = bytearray(message(seed, AF_INET))
    for place, value in changes:
        payload[place] = value
    assert outcome(lambda: the_short_cut(bytes(payload))) == outcome(lambda: the_long_way(bytes(payload)))


def all_the_long_way(payloads: Sequence[bytes]) -> Found:
    decoded = [the_long_way(payload) for payload in payloads]
    records = [record for record, _ in decoded]
    return Found(
        {record.key: record for record in records},
        tuple(record.key for record in records),
        b"".join(row for _, row in decoded),
    )


Changes = list[tuple[int, int, int]]


@example(seeds=[1, 2, 3], readings=[[], [(0, 90, 7)], []])  # the weight of one is changed, and changed back
@example(seeds=[1, 1, 2], readings=[[], []])  # the same destination comes twice
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=6),
    st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(4, 339), st.integers(0, 255)), max_size=3),
        min_size=1,
        max_size=4,
    ),
)
def test_readings_that_follow_each_other_decode_the_same_both_ways(seeds: list[int], readings: list[Changes]) -> None:
    known = Known()
    for changes in readings:
        payloads = [bytearray(message(seed, AF_INET)) for seed in seeds]
        for index, place, value in changes:
            payloads[index % len(payloads)][place] = value
        listed = [bytes(payload) for payload in payloads]
        known.begin()
        found = outcome(functools.partial(known.decoded, listed, AF_INET))
        known.end()
        assert found == outcome(functools.partial(all_the_long_way, listed))


def test_every_byte_that_changes_from_one_reading_to_the_next_is_seen() -> None:
    first = [message(seed, AF_INET) for seed in range(3)]
    for place, change in itertools.product(range(4, len(first[0])), (1, 0xFF)):
        known = Known()
        known.begin()
        known.decoded(first, AF_INET)
        changed = bytearray(first[1])
        changed[place] ^= change
        listed = [first[0], bytes(changed), first[2]]
        expected = outcome(functools.partial(all_the_long_way, listed))
        for _ in range(2):
            assert outcome(functools.partial(known.decoded, listed, AF_INET)) == expected, place


def test_family_that_is_left_out_is_that_of_the_service() -> None:
    known, listed = Known(), [message(seed, 0) for seed in range(3)]
    families = [next(iter(known.decoded(listed, family).keys)).family for family in (AF_INET, AF_INET6, AF_INET)]
    assert families == [AF_INET, AF_INET6, AF_INET]


def test_what_was_found_before_is_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first, moved = [message(seed, AF_INET) for seed in range(5)], message(5, AF_INET)
    known = Known()
    known.begin()
    found = known.decoded(first, AF_INET)
    known.end()
    counted = [bytes((*each[:-4], 1, 2, 3, 4)) for each in first]
    with monkeypatch.context() as patch:
        patch.setattr(codec, "decode_counted_destination", None)  # nobody calls it
        known.begin()
        again = known.decoded(counted, AF_INET)
        known.end()
    assert again.records is found.records
    assert again.rows != found.rows
    # Services of another family, and lists that are longer, are other lists.
    assert known.decoded(first, AF_INET6).records == found.records
    assert len(known.decoded([*first, moved], AF_INET).records) == 6
    # What a reading has not found is forgotten.
    for _ in range(2):
        known.begin()
        known.end()
    assert not known._found
    assert not known._before
