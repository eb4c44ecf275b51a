"""Decides whose fault a doubtful failure is: the server's (down) or the director's own (unsure).

A probe alone cannot decide this. "No route" looks the same whether somebody has withdrawn the route to this one server
or the director has lost its network. So the policy also looks at what the other probes find:

- No route to a server, while the director reaches other hosts of the same address family: down. Clients of the service
  get errors from this server, so it must go.
- No route, and no other host is reached: unsure. The director is cut off, and can judge no server.
- No answer, or no route, while the director's own interface is broken or a table of its kernel is full: unsure.

The director reaches a host when an outcome shows that the host answered, even if only with a refusal. Such an outcome
counts under these conditions:

- The probe must have begun after the failing probe first found no route. A host that was reached before that may have
  been lost at the same moment.
- The outcome must be the probe's last one, and not older than its `interval` and `timeout` together.
- The host must not be the failing target's own (another port of the same host proves nothing), nor the director.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Protocol

from lvs_healthd.config.check_model import AnyCheck, ExecCheck, UdpCheck
from lvs_healthd.decide.held import DOUBTFUL, ProbeState
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason, down, unsure

_ANSWERED = frozenset(
    {
        *(Reason.PASSED, Reason.REFUSED, Reason.RESET, Reason.CLOSED_EARLY, Reason.BAD_STATUS, Reason.BAD_ANSWER),
        *(Reason.TOO_LARGE, Reason.PROTOCOL_ERROR, Reason.TLS, Reason.CLOCK),
        *(Reason.EXPIRED, Reason.NOT_YET_VALID, Reason.EXPIRES_SOON),
    }
)
"""The reasons that show that the target has answered."""

AT_ONCE_S = 0.1
"""Two events that are less than this many seconds apart count as simultaneous. Workers report in ticks of 50 ms."""

SEARCH_EVERY_S = 0.05
"""The minimum time between two searches for hosts that are reached, seconds."""

SEARCHED = 2048
"""How many probes one search looks at. This takes less than a millisecond. The next search continues from there."""


class OwnFaults(Protocol):
    """Knows the faults of the director's own network. Times are seconds on the monotonic clock."""

    def is_ours(self, address: str) -> bool:
        """Whether an address is one of the director's own."""

    def table(self, address: str, began: float, now: float) -> str:
        """Return in words which table of the kernel was too full for a probe of `address`; "" if none was."""

    def link(self, address: str, began: float, interface: str = "") -> str | None:
        """Return in words what is, or was since `began`, wrong with our interface towards `address`; "" if nothing.

        interface: the name of the interface; "" for that of the route to `address`. None means that `ask` must find
            out.
        """

    def ask(self, address: str, then: Callable[[], None]) -> None:
        """Find out about the interface towards `address`. Call `then` when `link` knows the answer."""


class NoFaults:
    """Knows of no fault, because nobody watches for any."""

    def is_ours(self, address: str) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def table(self, address: str, began: float, now: float) -> str:  # noqa: ARG002
        """Return ""."""
        return ""

    def link(self, address: str, began: float, interface: str = "") -> str | None:  # noqa: ARG002
        """Return ""."""
        return ""

    def ask(self, address: str, then: Callable[[], None]) -> None:
        """Never called, because `link` never returns None."""
        raise AssertionError(address, then)


class Blame:
    """Decides whether a doubtful outcome is the server's fault or the director's own.

    probes: returns all the probes there are.
    own: knows the faults of the director's own network.
    """

    def __init__(self, probes: Callable[[], Iterable[ProbeState]], own: OwnFaults) -> None:
        self._own = own
        self._reach = Reach(probes, own.is_ours)

    def settled(self, probe: ProbeState, outcome: Outcome, course: Course, now: float) -> Outcome | None:
        """Return a doubtful outcome as down or unsure, with the reason in words. An unsure one is always a new object.

        None means that it is not known yet whether the director is at fault. Then the probe soon gets the same outcome
        again, unless a newer one has come by then.

        outcome: the outcome, whose reason is in `DOUBTFUL`. It is not in `probe` yet.
        course: how the probe went.
        now: seconds on the monotonic clock.
        """
        address, began = probe.check.address, now - course.total_s
        fault = self._own.table(address, began, now) if outcome.reason is Reason.TIMEOUT else ""
        way = probe.check.way
        found = fault or self._own.link(address, began, "" if way is None else way.interface)
        if found is None:
            self._own.ask(address, partial(_resume, probe, outcome, course, probe.last_at))
            return None
        if found or outcome.reason is not Reason.NO_ROUTE:
            return blamed(outcome, fault=found)
        if probe.last is None or probe.last.reason is not Reason.NO_ROUTE:
            probe.unrouted_since = began
        return blamed(outcome, reaches_others=self._reach.others(probe, probe.unrouted_since, now))


def _resume(probe: ProbeState, outcome: Outcome, course: Course, last_at: float | None) -> None:
    """Give a probe the outcome that has waited. It is dropped if a newer outcome has come since `last_at`."""
    if probe.last_at == last_at:
        probe.outcome(outcome, course)


def blamed(outcome: Outcome, *, fault: str = "", reaches_others: bool = False) -> Outcome:
    """Return a doubtful outcome as down or unsure, with the reason in words. An unsure one is a new object each time.

    outcome: an outcome whose reason is in `DOUBTFUL`.
    fault: the fault that the director's own network had during the probe, in words; "" if there was none.
    reaches_others: whether the director meanwhile reaches other hosts of the same address family.
    """
    if fault:
        return unsure(Reason.LOCAL_NETWORK, fault)
    if outcome.reason is not Reason.NO_ROUTE:
        return outcome
    if reaches_others:
        return down(outcome.reason, f"{outcome.detail}, while others are reached")
    return unsure(outcome.reason, f"{outcome.detail}, and nobody else is reached either")


def blamed_together(found: Mapping[AnyCheck, Outcome]) -> dict[AnyCheck, Outcome]:
    """Return the outcomes of probes that ran once, all at the same time. The doubtful ones become down or unsure.

    found: the outcome of each check's probe.
    """
    reached = {(check.address, check.way): check for check, outcome in found.items() if has_answered(check, outcome)}
    return {
        check: blamed(outcome, reaches_others=any(can_vouch(other, check) for other in reached.values()))
        if outcome.reason in DOUBTFUL
        else outcome
        for check, outcome in found.items()
    }


def has_answered(check: AnyCheck, outcome: Outcome) -> bool:
    """Return whether an outcome shows that the check's target answered, even if only with a refusal."""
    if outcome.reason not in _ANSWERED or isinstance(check, ExecCheck):  # who knows what a program has asked
        return False
    # A udp check that expects nothing passes when nobody answers.
    is_silent = isinstance(check, UdpCheck) and check.is_silent
    return not (is_silent and outcome.kind is OutcomeKind.UP)


def can_vouch(check: AnyCheck, failing: AnyCheck) -> bool:
    """Return whether an answer to `check` shows anything about the network that `failing` needs."""
    address = check.address
    return address != failing.address and shares_network(check, failing) and not is_loopback(address)


def shares_network(check: AnyCheck, other: AnyCheck) -> bool:
    """Return whether the probes of two checks leave the director in the same way and address family."""
    return (":" in check.address) == (":" in other.address) and check.way == other.way


def is_loopback(address: str) -> bool:
    """Return whether an address is a loopback address, so that packets to it never leave the host."""
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"


class Reach:
    """Finds out, from the last outcomes of all probes, which hosts the director reaches.

    Nothing is recorded when a probe passes, because that would make every probe slower. Instead, the probes are
    searched when there is a doubtful failure. Each search looks at a limited number of probes.

    probes: returns all the probes there are.
    is_ours: whether an address is one of the director's own.
    """

    def __init__(self, probes: Callable[[], Iterable[ProbeState]], is_ours: Callable[[str], bool]) -> None:
        self._probes = probes
        self._is_ours = is_ours
        self._unsearched: Iterator[ProbeState] = iter(())
        self._next_search = 0.0
        self._witnesses: list[ProbeState] = []
        """Up to two probes of each address family and way, of different hosts, whose targets have answered."""

    def others(self, failing: ProbeState, since: float, now: float) -> bool:
        """Return whether a host other than that of `failing` has answered a probe that began after `since`.

        since: when the current failure of `failing` began, seconds on the monotonic clock.
        now: seconds on the monotonic clock.
        """
        if not self._vouched(failing, since, now) and now >= self._next_search:
            self._search(failing, since, now)
        return self._vouched(failing, since, now)

    def _vouched(self, failing: ProbeState, since: float, now: float) -> bool:
        return any(
            can_vouch(witness.check, failing.check) and _began(witness, now) > since + AT_ONCE_S
            for witness in self._witnesses
        )

    def _search(self, failing: ProbeState, since: float, now: float) -> None:
        """Look at the next `SEARCHED` probes, but stop when one shows that another host is reached."""
        self._next_search = now + SEARCH_EVERY_S
        searched = tuple(islice(self._unsearched, SEARCHED))
        if not searched:
            self._unsearched = iter(tuple(self._probes()))
            searched = tuple(islice(self._unsearched, SEARCHED))
        for probe in searched:
            address = probe.check.address
            if _began(probe, now) > 0.0 and not is_loopback(address) and not self._is_ours(address):
                self._note(probe, now)
                if self._vouched(failing, since, now):
                    return

    def _note(self, probe: ProbeState, now: float) -> None:
        """Keep the two hosts of each address family and way whose last answers are the newest."""
        rivals = [each for each in self._witnesses if shares_network(each.check, probe.check)]
        same = [each for each in rivals if each.check.address == probe.check.address]
        if not same and len(rivals) < _WITNESSES:
            self._witnesses.append(probe)
            return
        oldest = min(same or rivals, key=lambda each: _began(each, now))
        if _began(probe, now) > _began(oldest, now):
            self._witnesses[self._witnesses.index(oldest)] = probe


_WITNESSES = 2
"""How many hosts of each address family and way are kept. Of two, at least one is not the failing target's host."""


def _began(probe: ProbeState, now: float) -> float:
    """Return when the last completed run of a probe began, seconds on the monotonic clock.

    Returns 0 if the target did not answer then, or answered so long ago that this proves nothing now.
    """
    last, at, check = probe.last, probe.last_at, probe.check
    if last is None or at is None or not probe.watches or not has_answered(check, last):
        return 0.0
    return at - (probe.latency_s or 0.0) if at + check.interval + check.timeout >= now else 0.0
