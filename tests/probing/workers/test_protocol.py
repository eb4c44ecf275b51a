"""Messages arrive over the socket unchanged, and anything else is refused."""

import itertools
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import Carrier, GrpcCheck, HttpCheck, HttpsCheck, TcpCheck, Tls, UdpCheck
from lvs_healthd.probes.exchange import quote
from lvs_healthd.probes.outcome import HEARD_BYTES, Outcome, OutcomeKind, Reason, down
from lvs_healthd.probing.workers.framing import Frames, GarbledFrameError
from lvs_healthd.probing.workers.protocol import (
    MOST_BYTES,
    MOST_RECORDS,
    RECORD,
    Assigned,
    Change,
    Fault,
    Hello,
    Paces,
    Report,
    Said,
    Text,
    Told,
    packed,
    said,
    told,
)
from lvs_healthd.probing.workers.reporter import MOST_LAGS
from tests.probing.workers.talking import frame

U32 = st.integers(0, 2**32 - 1)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLACES = st.fixed_dictionaries({"name": st.just(""), "address": st.just("192.0.2.1"), "port": st.integers(1, 65535)})
SECONDS = st.floats(0.01, 86400).map(Seconds)
CHECKS = st.one_of(
    st.builds(lambda place, **own: HttpCheck(**place, **own), PLACES, path=WORDS, host=WORDS, interval=SECONDS),
    st.builds(
        lambda place, **own: HttpsCheck(**place, **own), PLACES, tls=st.builds(Tls, sni=WORDS, verify=st.booleans())
    ),
    st.builds(lambda place, **own: TcpCheck(**place, **own), PLACES, send=st.binary(max_size=9), expect_regex=WORDS),
    st.builds(
        lambda place, **own: GrpcCheck(**place, **own),
        PLACES,
        service=WORDS,
        over=st.sampled_from(Carrier),
        tls=st.builds(Tls, alpn=st.none() | st.lists(WORDS, max_size=2).map(tuple), expires_fail=SECONDS),
    ),
    st.builds(lambda place, **own: UdpCheck(**place, **own), PLACES, timeout=SECONDS),
)
CHANGES = st.builds(
    Change,
    max_in_flight=st.integers(1, 100_000),
    dropped=st.lists(U32, max_size=3).map(tuple),
    added=st.lists(st.builds(Assigned, probe=U32, check=CHECKS), max_size=3).map(tuple),
    more=st.booleans(),
)
OUTCOMES = st.builds(Outcome, st.sampled_from(OutcomeKind), st.sampled_from(Reason), WORDS)
RECORDS = st.lists(st.tuples(U32, U32, *[st.floats(0, 1e6, width=32)] * 5), max_size=5)
REPORTS = st.builds(
    Report,
    texts=st.lists(st.builds(Text, number=U32, outcome=OUTCOMES), max_size=3).map(tuple),
    records=RECORDS.map(lambda records: b"".join(RECORD.pack(*each) for each in records)),
    heard=st.lists(st.tuples(U32, WORDS), max_size=3).map(tuple),
    forget=U32,
    lags=st.integers(0, 3).map(lambda count: bytes(4 * count)),
    loop_lags=st.integers(0, 3).map(lambda count: bytes(4 * count)),
    skipped=U32,
    warned=U32,
    in_flight=U32,
    waiting=U32,
    kept=U32,
)
SAID = st.one_of(REPORTS, st.builds(Hello, WORDS), st.builds(Fault, WORDS))


def payload(message: Told | Said) -> bytes:
    (only,) = Frames(2**32).feed(frame(message))
    return only


@given(st.lists(st.tuples(U32, SECONDS)).map(tuple).map(Paces))
def test_paces_come_out_as_they_went_in(message: Paces) -> None:
    assert told(payload(message)) == message


@given(CHANGES)
def test_change_comes_out_as_it_went_in(message: Change) -> None:
    read = told(payload(message))
    assert isinstance(read, Change)
    assert read == message
    assert [type(each.check) for each in read.added] == [type(each.check) for each in message.added]
    assert [hash(each.check) for each in read.added] == [hash(each.check) for each in message.added]


@given(SAID)
def test_what_a_worker_says_comes_out_as_it_went_in(message: Said) -> None:
    read = said(payload(message))
    assert read == message
    if isinstance(read, Report):
        # Decisions compare these by identity.
        assert all(text.outcome.reason is Reason(text.outcome.reason) for text in read.texts)
        assert all(text.outcome.kind is OutcomeKind(text.outcome.kind) for text in read.texts)


@given(st.lists(SAID, max_size=5), st.lists(st.integers(0, 2000), max_size=20))
def test_frames_come_out_whole_however_the_stream_is_cut(messages: list[Said], cuts: list[int]) -> None:
    stream = b"".join(frame(message) for message in messages)
    bounds = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    frames = Frames(2**20)
    received = [each for start, end in itertools.pairwise(bounds) for each in frames.feed(stream[start:end])]
    assert [said(each) for each in received] == messages


@given(st.binary(max_size=60))
def test_garbage_is_refused_or_happens_to_be_a_message(garbage: bytes) -> None:
    for read in (told, said):
        try:
            message = read(garbage)
        except GarbledFrameError:
            continue
        assert isinstance(message, Change | Paces | Hello | Report | Fault)


@pytest.mark.parametrize(("read", "kind"), [(told, Change), (said, Report)])
def test_message_that_is_nested_too_deeply_is_refused(
    read: Callable[[bytes], object], kind: type[msgspec.Struct]
) -> None:
    name = str(kind.__struct_config__.tag).encode()
    nested = b"\x91" * 2000 + b"\xc0"
    with pytest.raises(GarbledFrameError, match="nested too deeply"):
        read(b"\x82\xa4type" + bytes([0xA0 | len(name)]) + name + b"\xa3odd" + nested)


@pytest.mark.parametrize("field", ["records", "lags", "loop_lags"])
def test_report_with_half_a_record_is_refused(field: str) -> None:
    with pytest.raises(GarbledFrameError, match="broken record"):
        said(payload(Report(**{field: b"abc"})))  # type: ignore[arg-type]  # the three fields above


def test_report_with_more_records_than_a_worker_sends_is_refused() -> None:
    full = {"records": bytes(RECORD.size * MOST_RECORDS), "heard": ((0, "x"),) * MOST_RECORDS}
    assert said(payload(Report(**full))) == Report(**full)  # type: ignore[arg-type]  # the two fields above
    for more in ({"records": bytes(RECORD.size * (MOST_RECORDS + 1))}, {"heard": ((0, "x"),) * (MOST_RECORDS + 1)}):
        with pytest.raises(GarbledFrameError, match=f"more than {MOST_RECORDS} records"):
            said(payload(Report(**full | more)))  # type: ignore[arg-type]


def test_announced_length_is_bounded() -> None:
    frames = Frames(1000)
    with pytest.raises(GarbledFrameError, match="2000 bytes"):
        list(frames.feed((2000).to_bytes(4, "little")))


def test_report_with_a_new_and_long_text_for_every_record_fits() -> None:
    texts = tuple(Text(number, down(Reason.BAD_ANSWER, "…" * 200)) for number in range(MOST_RECORDS))
    heard = tuple((number, quote(bytes(HEARD_BYTES + 1), HEARD_BYTES)) for number in range(MOST_RECORDS))
    records = bytes(RECORD.size * MOST_RECORDS)
    full = frame(Report(texts=texts, records=records, heard=heard, lags=bytes(4 * MOST_LAGS)))
    assert len(full) < MOST_BYTES


@given(CHECKS)
def test_packed_check_is_the_same_each_time_and_tells_types_apart(check: HttpCheck) -> None:
    read = told(payload(Change(max_in_flight=1, added=(Assigned(0, check),))))
    assert isinstance(read, Change)
    assert packed(check) == packed(read.added[0].check)
