"""Conversations in steps: fed by hand, and over real sockets where TLS begins in the middle."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import ConversationStep, TcpCheck, Tls, UdpCheck
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.schema import TLS_FIELDS
from lvs_healthd.probes import expect
from lvs_healthd.probes.conversation import conversations
from lvs_healthd.probes.exchange import MOST_DATAGRAMS, Exchange, Farewell, Step
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, unsure, up
from lvs_healthd.probes.targets import targets
from lvs_healthd.probing.once import run_once
from tests.configs import server, service
from tests.pacing import EXTENDED
from tests.probes.peers import datagram_server, stream_server

RESET = down(Reason.RESET, "connection reset")
LINE = r"(?m)^220 [^\n]*\n"
PASSED = up("all steps passed")


def sends(data: bytes) -> ConversationStep:
    return ConversationStep(send=data)


def expects(data: bytes) -> ConversationStep:
    return ConversationStep(expect=data)


def matches(pattern: str) -> ConversationStep:
    return ConversationStep(expect_regex=pattern)


TLS = ConversationStep(starttls=True)


def over_tcp(*steps: ConversationStep, **keys: Any) -> TcpCheck:
    tls = Tls(**{key: keys.pop(key) for key in TLS_FIELDS if key in keys})
    defaults: dict[str, Any] = {"name": "tcp", "address": "127.0.0.1", "port": 25, "timeout": Seconds(2.0), "tls": tls}
    return TcpCheck(steps=steps, **defaults | keys)


def over_udp(*steps: ConversationStep, port: int = 53, max_answer: int = 65536) -> UdpCheck:
    timeout = Seconds(1.0)
    return UdpCheck(name="udp", address="127.0.0.1", port=port, timeout=timeout, steps=steps, max_answer=max_answer)


def begun(check: TcpCheck | UdpCheck) -> tuple[Exchange, Step]:
    exchange = conversations(check)()
    return exchange, exchange.connected()


# ---- over tcp --------------------------------------------------------------------------------------------------------

GREETED = (matches(LINE), sends(b"EHLO x\r\n"), expects(b"250 ok\r\n"), sends(b"QUIT\r\n"))


def test_each_step_waits_for_the_one_before_and_the_last_words_are_a_farewell() -> None:
    exchange, first = begun(over_tcp(*GREETED))
    assert first is None
    assert exchange.received(b"220-wait\r\n") is None
    assert exchange.received(b"220 mail\r\n") == b"EHLO x\r\n"
    assert exchange.received(b"250-size\r\n250 ok\r\n") == Farewell(b"QUIT\r\n", PASSED, peer_may_close=True)


def test_who_has_said_nothing_closes_the_connection_himself() -> None:
    exchange, _ = begun(over_tcp(matches(LINE)))
    assert exchange.received(b"220 mail\r\n") == Farewell(b"", PASSED, peer_may_close=False)


def test_what_is_left_of_an_answer_belongs_to_the_next_step() -> None:
    exchange, first = begun(over_tcp(sends(b"a"), sends(b"b"), matches(r"\A1;"), matches(r"\A2;")))
    assert first == b"ab"
    assert exchange.received(b"1;2;") == Farewell(b"", PASSED, peer_may_close=True)
    exchange, _ = begun(over_tcp(sends(b"a"), matches(r"\A1;"), matches(r"\A2;")))
    assert exchange.received(b"1;1;2;") is None
    assert exchange.expired("1s").detail == 'step 3 of 3: unexpected answer "1;2;" in 1s'


SPOKEN = b"220-wait\r\n220 mail.example\r\n250-SIZE\r\n250 ok\r\n"


@given(st.lists(st.integers(0, len(SPOKEN)), max_size=8))
def test_where_segments_end_makes_no_difference(cuts: Sequence[int]) -> None:
    exchange, said = begun(over_tcp(*GREETED))
    ends = [*sorted(cuts), len(SPOKEN)]
    heard = [SPOKEN[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]
    steps = [said, *(exchange.received(data) for data in heard)]
    assert [step for step in steps if isinstance(step, Farewell)] == steps[-1:]
    spoken = b"".join(step.data if isinstance(step, Farewell) else step or b"" for step in steps)  # type: ignore[misc]
    assert spoken == b"EHLO x\r\nQUIT\r\n"


@pytest.mark.parametrize(
    ("heard", "outcome"),
    [
        (b"", down(Reason.CLOSED_EARLY, "step 1 of 4: connection closed without an answer")),
        (b"554", down(Reason.BAD_ANSWER, 'step 1 of 4: unexpected answer "554", then the connection closed')),
        (b"220 a\r\n", down(Reason.CLOSED_EARLY, "step 3 of 4: connection closed without an answer")),
    ],
)
def test_connection_that_closes_too_early_says_where(heard: bytes, outcome: Outcome) -> None:
    exchange, _ = begun(over_tcp(*GREETED))
    if heard:
        exchange.received(heard)
    assert exchange.closed() == outcome


def test_connection_that_fails_says_where_unless_it_is_our_fault() -> None:
    exchange, _ = begun(over_tcp(*GREETED))
    assert exchange.failed(RESET) is RESET
    exchange.received(b"220 a\r\n")
    assert exchange.failed(RESET) == down(Reason.RESET, "step 3 of 4: connection reset")
    exchange.received(b"421 busy\r\n")
    told = 'step 3 of 4: unexpected answer "421 busy\\x0d\\x0a", then the connection was reset'
    assert exchange.failed(RESET) == down(Reason.BAD_ANSWER, told)
    ours = unsure(Reason.STALLED, "this process has ended")
    assert exchange.failed(ours) is ours


def test_time_that_is_up_says_what_was_waited_for() -> None:
    exchange, _ = begun(over_tcp(*GREETED))
    assert exchange.expired("1s") == down(Reason.TIMEOUT, "step 1 of 4: no answer in 1s")


def test_answer_without_end_is_too_large() -> None:
    exchange, _ = begun(over_tcp(expects(b"ok"), max_answer=100))
    assert exchange.received(b"x" * 99) is None
    assert exchange.received(b"xok") == down(
        Reason.TOO_LARGE, "step 1 of 1: expected answer not in the first 100 bytes"
    )


@pytest.mark.parametrize("size", [200, 1448])
def test_long_answer_in_many_segments_is_met_with_its_last_byte(size: int) -> None:
    """The server waits for our next words then, and sends nothing more that could lead to another search."""
    answer = b"".join(b"250-%d %s\r\n" % (number, b"x" * 60) for number in range(120)) + b"250 end\r\n"
    exchange, _ = begun(over_tcp(matches(r"(?m)^250 [^\n]*\n"), sends(b"QUIT\r\n")))
    steps = [exchange.received(answer[start : start + size]) for start in range(0, len(answer), size)]
    assert isinstance(steps[-1], Farewell)


class Counting:
    """An expression that never matches, and counts how many bytes it has searched."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.searched = 0

    def is_in(self, answer: bytearray) -> bool:
        self.searched += len(answer)
        return False


@pytest.mark.parametrize(("size", "most"), [(20, 1_300_000), (76, 500_000)])
def test_answer_in_single_bytes_is_not_searched_for_each_of_them(
    monkeypatch: pytest.MonkeyPatch, size: int, most: int
) -> None:
    """`most` has room for the bytes that are searched at once, and for a search whenever the answer has doubled."""
    counting = Counting(size)
    monkeypatch.setattr(expect, "answer_pattern", lambda _: counting)
    exchange, _ = begun(over_tcp(matches("x")))
    for _ in range(60_000):
        exchange.received(b"a")
    assert 100_000 < counting.searched < most


def test_answer_that_was_met_unnoticed_passes_when_the_time_is_up_or_the_connection_fails() -> None:
    answer = b"x" * 4000 + b"ok"
    for end in ("expired", "failed", "closed"):
        exchange, _ = begun(over_tcp(matches("ok")))
        for byte in answer:
            if isinstance(exchange.received(bytes([byte])), Farewell):
                break
        else:
            arguments = {"expired": ("1s",), "failed": (RESET,), "closed": ()}[end]
            assert getattr(exchange, end)(*arguments) == PASSED


def test_limit_counts_for_each_step() -> None:
    exchange, _ = begun(over_tcp(expects(b"ok"), expects(b"ok"), max_answer=100))
    assert exchange.received(b"x" * 90 + b"ok") is None
    assert isinstance(exchange.received(b"x" * 90 + b"ok"), Farewell)


def test_secret_that_the_server_repeats_is_not_shown() -> None:
    exchange, _ = begun(over_tcp(sends(b"LOGIN me hunter2\r\n"), expects(b"OK"), sends(b"QUIT\r\n")))
    exchange.received(b"BAD LOGIN me hunter2\r\n")
    assert "hunter2" not in exchange.expired("1s").detail
    assert "(hidden)" in exchange.expired("1s").detail


# ---- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def certified(authority: trustme.CA) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mail.example").configure_cert(made)
    return made


async def outcome_of(check: TcpCheck | UdpCheck) -> Outcome:
    return next(iter((await run_once([check])).values())).outcome


STARTTLS = (
    *(matches(LINE), sends(b"STARTTLS\r\n"), matches(LINE), TLS),
    *(sends(b"EHLO x\r\n"), expects(b"250 ok"), sends(b"QUIT\r\n")),
)


class MailServer:
    """Begins TLS when it is told to, and notes what it hears."""

    def __init__(self, tls: ssl.SSLContext, *, before_tls: bytes = b"220 go\r\n", after: bytes = b"250 ok\r\n") -> None:
        self.heard: list[bytes] = []
        self._tls = tls
        self._before_tls = before_tls
        self._after = after

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n")
        self.heard.append(await reader.readline())
        writer.write(self._before_tls)
        await writer.drain()
        if not self._before_tls.startswith(b"220"):
            return
        await writer.start_tls(self._tls)
        self.heard.append(await reader.readline())
        writer.write(self._after)
        self.heard.append(await reader.readline())


async def test_tls_begins_in_the_middle_and_the_certificate_s_end_is_known(
    certified: ssl.SSLContext, ca_file: str
) -> None:
    mail = MailServer(certified)
    async with stream_server(mail.serve) as port:
        found = await outcome_of(over_tcp(*STARTTLS, port=port, sni="mail.example", ca=ca_file))
        await asyncio.sleep(0.05)
    assert (found.kind, found.detail) == (OutcomeKind.UP, "all steps passed")
    assert found.certificate_end is not None
    assert mail.heard == [b"STARTTLS\r\n", b"EHLO x\r\n", b"QUIT\r\n"]


async def test_steps_after_tls_fail_under_their_own_number(certified: ssl.SSLContext, ca_file: str) -> None:
    async with stream_server(MailServer(certified, after=b"550 no\r\n").serve) as port:
        found = await outcome_of(over_tcp(*STARTTLS, port=port, sni="mail.example", ca=ca_file, timeout=Seconds(0.3)))
    assert found.detail.removesuffix(EXTENDED) == 'step 6 of 7: unexpected answer "550 no\\x0d\\x0a" in 300ms'


async def test_certificate_for_another_name_is_refused_unless_nothing_is_verified(
    certified: ssl.SSLContext, ca_file: str
) -> None:
    async with stream_server(MailServer(certified).serve) as port:
        nameless = await outcome_of(over_tcp(*STARTTLS, port=port, ca=ca_file))
        unverified = await outcome_of(over_tcp(*STARTTLS, port=port, verify=False))
    assert nameless.reason is Reason.TLS
    assert nameless.detail.endswith("; set sni to the name that clients ask for")
    assert unverified.kind is OutcomeKind.UP


async def test_server_without_tls_is_down_at_the_step_before(certified: ssl.SSLContext) -> None:
    async with stream_server(MailServer(certified, before_tls=b"454 no TLS\r\n").serve) as port:
        found = await outcome_of(over_tcp(*STARTTLS, port=port, verify=False))
    assert found.detail.startswith('step 3 of 7: unexpected answer "454 no TLS\\x0d\\x0a", then the connection')


async def test_tls_may_begin_at_once(certified: ssl.SSLContext, ca_file: str) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK ready\r\n")

    check = over_tcp(TLS, expects(b"* OK"), sni="mail.example", ca=ca_file)
    async with stream_server(greet, tls=certified) as port:
        found = await outcome_of(over_tcp(*check.steps, port=port, sni="mail.example", ca=ca_file))
    assert found.kind is OutcomeKind.UP


async def test_what_came_before_tls_is_not_taken_for_an_answer_in_it(certified: ssl.SSLContext, ca_file: str) -> None:
    mail = MailServer(certified, before_tls=b"220 go\r\n250 ok\r\n", after=b"550 no\r\n")
    async with stream_server(mail.serve) as port:
        found = await outcome_of(over_tcp(*STARTTLS, port=port, sni="mail.example", ca=ca_file, timeout=Seconds(0.3)))
    assert found.kind is OutcomeKind.DOWN


def test_authority_that_cannot_be_read_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    check = over_tcp(TLS, ca=str(tmp_path / "gone.pem"))
    with pytest.raises(ConfigError, match="No such file"):
        targets([service(server("127.0.0.1", checks=(check,)))])


# ---- over udp --------------------------------------------------------------------------------------------------------


def test_each_datagram_is_a_step() -> None:
    exchange, first = begun(over_udp(sends(b"a"), expects(b"1"), sends(b"b"), expects(b"2")))
    assert first == b"a"
    assert exchange.received(b"0") is None
    assert exchange.received(b"1") == b"b"
    assert exchange.received(b"1") is None
    assert exchange.expired("1s").detail == 'step 4 of 4: unexpected answer "1", and no other in 1s'
    assert exchange.received(b"2") == PASSED


def test_datagram_that_is_too_long_is_searched_as_far_as_allowed() -> None:
    exchange, _ = begun(over_udp(sends(b"a"), expects(b"ok"), max_answer=4))
    assert exchange.received(b"xxx") is None
    assert exchange.received(b"xok") == down(Reason.BAD_ANSWER, 'step 2 of 2: unexpected answer "xok"')


def test_server_that_sends_nothing_but_other_datagrams_is_down_before_the_time_is_up() -> None:
    exchange, _ = begun(over_udp(sends(b"a"), expects(b"ok")))
    outcomes = [exchange.received(b"no") for _ in range(MOST_DATAGRAMS)]
    assert outcomes == [None] * (MOST_DATAGRAMS - 1) + [down(Reason.BAD_ANSWER, 'step 2 of 2: unexpected answer "no"')]


def test_port_that_is_closed_after_an_answer_shows_it() -> None:
    exchange, _ = begun(over_udp(sends(b"a"), expects(b"1"), sends(b"b"), expects(b"2")))
    closed = down(Reason.REFUSED, "port unreachable")
    assert exchange.failed(closed) is closed
    exchange.received(b"0")
    told = 'step 2 of 4: unexpected answer "0", then port unreachable'
    assert exchange.failed(closed) == down(Reason.BAD_ANSWER, told)


async def test_udp_server_that_answers_is_up() -> None:
    async with datagram_server(b"no", b"yes") as port:
        found = await outcome_of(over_udp(sends(b"a"), expects(b"yes"), sends(b"b"), expects(b"yes"), port=port))
        silent = await outcome_of(over_udp(sends(b"a"), expects(b"never"), port=port))
    assert found == PASSED
    assert silent.detail.removesuffix(EXTENDED) == 'step 2 of 2: unexpected answer "yes", and no other in 1s'
