"""The conversation of a udp check, fed by hand: no sockets."""

from lvs_healthd.config.check_model import UdpCheck
from lvs_healthd.probes.exchange import MOST_DATAGRAMS
from lvs_healthd.probes.outcome import OutcomeKind, Reason, down, unsure
from lvs_healthd.probes.udp import udp_exchanges

CHECK = UdpCheck(name="udp", address="192.0.2.1", port=5060, send=b"OPTIONS", expect=b"200 OK")
REFUSED = down(Reason.REFUSED, "port unreachable")


def test_unexpected_answer_is_shown_when_the_port_closes_after_it() -> None:
    exchange = udp_exchanges(CHECK)()
    exchange.connected()
    assert exchange.received(b"100 Trying") is None
    outcome = exchange.failed(REFUSED)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.DOWN, Reason.BAD_ANSWER)
    assert outcome.detail == 'unexpected answer "100 Trying", then port unreachable'


def test_server_that_sends_nothing_but_other_answers_is_down_before_the_time_is_up() -> None:
    exchange = udp_exchanges(CHECK)()
    exchange.connected()
    outcomes = [exchange.received(b"100 Trying") for _ in range(MOST_DATAGRAMS)]
    assert outcomes == [None] * (MOST_DATAGRAMS - 1) + [down(Reason.BAD_ANSWER, 'unexpected answer "100 Trying"')]


def test_failure_of_ours_after_an_answer_stays_unsure() -> None:
    exchange = udp_exchanges(CHECK)()
    exchange.received(b"100 Trying")
    ours = unsure(Reason.STALLED, "our own buffer is full")
    assert exchange.failed(ours) is ours
    assert udp_exchanges(CHECK)().failed(REFUSED) is REFUSED
