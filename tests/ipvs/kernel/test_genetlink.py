import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink import ctrlmsg

from lvs_healthd.ipvs.kernel import genetlink
from lvs_healthd.ipvs.kernel.genetlink import Answer, GarbledMessageError, Message


def test_a_request_is_framed_as_pyroute2_frames_it() -> None:
    oracle = ctrlmsg()
    oracle["cmd"] = 3
    oracle["version"] = 2
    oracle["attrs"] = [("CTRL_ATTR_FAMILY_NAME", "IPVS")]
    oracle["header"]["type"] = 16
    oracle["header"]["flags"] = 5
    oracle["header"]["sequence_number"] = 77
    oracle.encode()
    attributes = genetlink.family_name("IPVS")
    assert genetlink.request(16, 3, attributes, flags=4, sequence=77, version=2) == bytes(oracle.data)


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 2**32 - 1), st.binary(max_size=40)), max_size=5))
def test_messages_in_one_receive_come_apart_again(sent: list[tuple[int, int, bytes]]) -> None:
    data = b"".join(
        struct.pack("=IHHII", 16 + len(payload), kind, 0, sequence, 0) + payload + bytes(-len(payload) % 4)
        for kind, sequence, payload in sent
    )
    assert list(genetlink.messages(data)) == [Message(kind, 0, sequence, payload) for kind, sequence, payload in sent]


def by_either(data: bytes) -> list[Message]:
    """Return all messages, those that are alike split off first."""
    split = genetlink.alike(data)
    if split is None:
        return list(genetlink.messages(data))
    first, payloads, rest = split
    assert payloads[0] == first.payload
    return [*(first._replace(payload=payload) for payload in payloads), *genetlink.messages(rest)]


@given(
    st.lists(
        st.tuples(
            st.integers(2, 3), st.sampled_from([0, 16]), st.integers(6, 7), st.sampled_from([b"", b"abc", b"12345678"])
        ),
        max_size=6,
    ),
    st.binary(max_size=20),
)
def test_messages_that_are_alike_are_those_that_come_one_by_one(
    sent: list[tuple[int, int, int, bytes]], surplus: bytes
) -> None:
    data = b"".join(
        struct.pack("=IHHII", 16 + len(payload), kind, flags, sequence, 0) + payload + bytes(-len(payload) % 4)
        for kind, flags, sequence, payload in sent
    )
    assert by_either(data) == list(genetlink.messages(data))
    try:
        expected = list(genetlink.messages(data + surplus))
    except GarbledMessageError:
        with pytest.raises(GarbledMessageError):
            by_either(data + surplus)
    else:
        assert by_either(data + surplus) == expected


def test_messages_of_a_list_are_split_at_once() -> None:
    message = struct.pack("=IHHII", 19, 7, 2, 9, 0) + b"abc\0"
    end = struct.pack("=IHHII", 20, 3, 2, 9, 0) + bytes(4)
    assert genetlink.alike(message * 3 + end[:16]) == (Message(7, 2, 9, b"abc"), [b"abc"] * 3, end[:16])
    assert genetlink.alike(message * 3 + end) is None  # it is as long as one of these, but is none


@given(st.binary(max_size=120))
def test_random_bytes_raise_nothing_but_the_one_error(data: bytes) -> None:
    with contextlib.suppress(GarbledMessageError):
        for message in genetlink.messages(data):
            genetlink.answer(message)
            genetlink.family_id(message.payload)


@given(st.integers(0, 0xFFFF), st.binary(max_size=60))
def test_random_acknowledgements_raise_nothing_but_the_one_error(flags: int, payload: bytes) -> None:
    with contextlib.suppress(GarbledMessageError):
        genetlink.answer(Message(genetlink.NLMSG_ERROR, flags, 1, payload))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes(15), "header cut short at byte 0 of 15"),
        (struct.pack("=IHHII", 15, 0, 0, 0, 0), "netlink message of 15 bytes at byte 0 of 16"),
        (struct.pack("=IHHII", 20, 0, 0, 0, 0), "netlink message of 20 bytes at byte 0 of 16"),
    ],
)
def test_contradicting_lengths_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(GarbledMessageError, match=words):
        list(genetlink.messages(data))


@pytest.mark.parametrize("length", [3, 9])
def test_an_attribute_longer_than_its_message_is_refused(length: int) -> None:
    with pytest.raises(GarbledMessageError, match=f"netlink attribute of {length} bytes, 8 left"):
        genetlink.attributes(struct.pack("=HHI", length, 1, 0), 0, 8)


def test_an_acknowledgement_without_error_is_done() -> None:
    assert genetlink.answer(Message(2, 0, 1, struct.pack("=i", 0) + bytes(16))) == Answer(0, "")


def test_an_error_comes_with_the_kernels_words_when_the_request_is_not_echoed() -> None:
    words = genetlink.attribute(1, b"Unsupported thing\0")
    payload = struct.pack("=i", -22) + struct.pack("=IHHII", 60, 20, 5, 1, 0) + words
    flags = genetlink.NLM_F_CAPPED | genetlink.NLM_F_ACK_TLVS
    assert genetlink.answer(Message(2, flags, 1, payload)) == Answer(22, "Unsupported thing")


def test_an_error_comes_with_the_kernels_words_after_the_echoed_request() -> None:
    words = genetlink.attribute(2, bytes(4)) + genetlink.attribute(1, b"Unsupported thing\0")
    payload = struct.pack("=i", -22) + struct.pack("=IHHII", 18, 20, 5, 1, 0) + b"xx\0\0" + words
    assert genetlink.answer(Message(2, genetlink.NLM_F_ACK_TLVS, 1, payload)) == Answer(22, "Unsupported thing")


def test_the_end_of_a_dump_may_carry_an_error_or_nothing() -> None:
    assert genetlink.answer(Message(3, 0, 1, struct.pack("=i", -1))) == Answer(1, "")
    assert genetlink.answer(Message(3, 0, 1, b"")) == Answer(0, "")


def test_an_acknowledgement_cut_short_is_refused() -> None:
    with pytest.raises(GarbledMessageError, match="acknowledgement cut short"):
        genetlink.answer(Message(2, 0, 1, b"\0\0"))


def test_a_nested_attributes_flag_is_not_part_of_its_type() -> None:
    assert genetlink.attributes(struct.pack("=HHI", 8, 0x8000 | 5, 1), 0, 8) == {5: (4, 8)}


def test_the_familys_number_is_read() -> None:
    reply = bytes(4) + genetlink.attribute(2, b"IPVS\0") + genetlink.attribute(1, struct.pack("=H", 31))
    assert genetlink.family_id(reply) == 31


def test_a_family_without_a_number_is_refused() -> None:
    with pytest.raises(GarbledMessageError, match="without a number"):
        genetlink.family_id(bytes(4) + genetlink.attribute(2, b"IPVS\0"))
