"""Loads ready-made checks, aimed at a server on loopback, and runs them with the daemon's own engine."""

import asyncio
import time
from collections.abc import Callable, Iterable

import msgspec
import tomli_w

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, TcpCheck, UdpCheck
from lvs_healthd.config.load import parse
from lvs_healthd.config.patterns import answer_pattern
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.probing.once import run_once

PATIENCE_S = 20.0
"""How long a server may take to start, on a machine that is busy with other things."""

PAUSE_S = 0.05

SILENCE_S = Seconds(0.25)
"""The timeout of a probe that is expected to get no answer; a server that is well needs a few milliseconds."""


def ready_made(name: str, port: int, address: str = "127.0.0.1", **keys: str | bool) -> AnyCheck:
    """Load the packaged check of that name, aimed at a server.

    keys: what to change in it.
    """
    written = tomli_w.dumps({"service": {"check": {"type": name, **keys}}})
    service = f'[[service]]\naddress = "127.0.0.100:{port}"\nreal_server = ["{address}"]\n{written}'
    [check] = parse(service, "/none/config.toml").services[0].real_servers[0].checks
    return check


def stream(check: AnyCheck) -> TcpCheck | UdpCheck:
    """Return a check that is known to exchange bytes."""
    assert isinstance(check, TcpCheck | UdpCheck)
    return check


def aimed(check: AnyCheck, port: int) -> AnyCheck:
    """Return the check, aimed at another port."""
    return msgspec.structs.replace(check, port=port)


def hasty(check: AnyCheck) -> AnyCheck:
    """Return the check with a timeout that is short, for a server that is known to say nothing."""
    return msgspec.structs.replace(check, timeout=min(check.timeout, SILENCE_S))


def accepts(check: AnyCheck, answer: bytes) -> bool:
    """Return whether an answer passes, by the rules of a probe."""
    exchange = stream(check)
    if exchange.expect_regex:
        return answer_pattern(exchange.expect_regex).is_in(answer)
    return exchange.expect in answer


def outcome(check: AnyCheck) -> Outcome:
    """Probe once."""
    (found,) = outcomes([check])
    return found


def outcomes(checks: Iterable[AnyCheck]) -> list[Outcome]:
    """Probe different servers at the same time, once each. Return what was found, in their order."""
    ordered = list(checks)
    found = asyncio.run(run_once(ordered))
    return [found[probe_key(check)].outcome for check in ordered]


def probe(check: AnyCheck) -> bool:
    """Probe once, and return whether the check passes."""
    return outcome(check).kind is OutcomeKind.UP


def wait_until_up(check: AnyCheck) -> Outcome:
    """Probe again and again until the check passes, and return that outcome."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := outcome(check)).kind is not OutcomeKind.UP:
        assert time.monotonic() < deadline, found.detail
        time.sleep(PAUSE_S)
    return found


def wait_until_down(check: AnyCheck) -> None:
    """Probe again and again until the check fails."""
    _wait_until(lambda: not probe(check), "it passes all the time")


def wait_until_open(check: AnyCheck) -> None:
    """Probe again and again until the server's port is open, whatever it answers."""
    _wait_until(lambda: outcome(hasty(check)).reason is not Reason.REFUSED, "the server does not start")


def wait_until_refused(check: AnyCheck) -> None:
    """Probe again and again until the server's port is closed."""
    _wait_until(lambda: outcome(hasty(check)).reason is Reason.REFUSED, "the server does not end")


def _wait_until(is_so: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, complaint
        time.sleep(PAUSE_S)
