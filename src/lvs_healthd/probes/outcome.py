"""What one probe found: up, down or unsure. Never a bool: a fault on our own side must not count against a server."""

import enum

import msgspec

from lvs_healthd.config.basics import Endpoint


class OutcomeKind(enum.StrEnum):
    """The three kinds of outcome."""

    UP = "up"
    DOWN = "down"
    UNSURE = "unsure"


class Reason(enum.StrEnum):
    """Why a probe has its outcome. A closed set: it labels metrics and is the stable part of log lines."""

    PASSED = "passed"
    REFUSED = "refused"
    RESET = "reset"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    CLOSED_EARLY = "closed_early"
    BAD_STATUS = "bad_status"
    BAD_ANSWER = "bad_answer"
    TOO_LARGE = "too_large"
    PROTOCOL_ERROR = "protocol_error"
    TLS = "tls"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    EXPIRES_SOON = "expires_soon"
    """These three are about the dates of a certificate, by the director's clock."""
    SAID_DOWN = "said_down"
    """The target's agent says that it is down."""
    NO_WORD = "no_word"
    """The target's agent says nothing that is understood. What it said last stands."""
    LOCAL_LIMIT = "local_limit"
    """We ran out of descriptors, ports or buffers."""
    LOCAL_NETWORK = "local_network"
    """Our own interface, route or firewall is in the way."""
    NO_ROUTE = "no_route"
    """The director has no route to the target. `decide.blame` decides whose fault that is."""
    STALLED = "stalled"
    """A process of ours ended or hung, or learned of the outcome too late. A lag alone only extends the deadline."""
    PATH = "path"
    """The target answers on its own address, but not through the virtual service."""
    MARK = "mark"
    """The kernel's table did not have the probe's mark service as it should be."""
    SETTING = "setting"
    """A setting of the director, or an address that it lacks, keeps the probe from telling anything."""
    NOT_RUN = "not_run"
    """The probe was not run, because it needs a mark service, and this process writes none."""
    CLOCK = "clock"
    """A certificate is not valid at this time, but the director's clock is suspected."""


class AskedWeight(msgspec.Struct, frozen=True, gc=False):
    """The weight that a target asks for."""

    value: int
    is_share: bool
    """Whether the value is a percentage of the configured weight. Otherwise it replaces the configured weight."""

    def __str__(self) -> str:
        """Write it for an operator: "75%", or "weight 12"."""
        return f"{self.value}%" if self.is_share else f"weight {self.value}"


class MonitorRun(msgspec.Struct, frozen=True, gc=False):
    """The last failed run of a program with mon's convention: what mon would tell an alert about it.

    Times are Unix times, whole seconds.
    """

    status: int
    """Its exit status; 1 for a program that was killed or took too long, which mon does not know."""
    output: str
    """What it printed, cut off as `mon.MOST_REMEMBERED` says."""
    before: str | None
    """What the run before it printed; None if there was none."""
    first_failure: int
    """When the first of the failed runs in succession ended."""
    last_failure: int
    """When this run ended."""
    last_success: int
    """When the last run before these ended; 0 if none has passed."""


class Outcome(msgspec.Struct, frozen=True):
    """What one probe found. `detail` is the sentence an operator reads ("status 503, expected 200-299").

    The latency is kept apart, so that probes with the same result can share one outcome.
    """

    kind: OutcomeKind
    reason: Reason
    detail: str
    certificate_end: float | None = None
    """When the certificate ends that the target presented in this probe, Unix time; None when it presented none."""
    asks: AskedWeight | None = None
    """The weight that the target asks for; None if it says nothing about that. What it has asked for before then stays
    in force."""
    monitor: MonitorRun | None = None
    """The last failed run, of a program with mon's convention. It is this one, or of a pass, one before."""
    apart: "tuple[Share, ...]" = ()
    """What a run for several servers found of those for which it found something else. Nobody but `probing.groups` gets
    an outcome with this."""


class Share(msgspec.Struct, frozen=True):
    """What a run for several servers found of one of them."""

    server: Endpoint
    outcome: Outcome


class Course(msgspec.Struct, frozen=True, gc=False):
    """How one probe went: how long it took to get how far, and what it heard. Times are seconds since its start."""

    total_s: float
    """The time to the outcome."""
    connected_s: float | None = None
    """The time until the target accepted the connection; None if it did not, and for a probe without a connection."""
    secured_s: float | None = None
    """The time until TLS had begun; None if it had not."""
    answered_s: float | None = None
    """The time until the first byte came, of TLS too; None if none came."""
    heard: str = ""
    """The first `HEARD_BYTES` of what came, without secrets, quoted so that any terminal can print it. Empty if nothing
    came, and for a probe that passed."""


NO_COURSE = Course(0.0)
"""The course of a probe that did not run."""

HEARD_BYTES = 256
"""How much of what a target sent is kept for a probe that did not pass, bytes."""


def up(detail: str) -> Outcome:
    """Return the outcome of a probe whose target answered as it should."""
    return Outcome(OutcomeKind.UP, Reason.PASSED, detail)


def down(reason: Reason, detail: str) -> Outcome:
    """Return the outcome of a probe whose target failed through its own fault."""
    return Outcome(OutcomeKind.DOWN, reason, detail)


def unsure(reason: Reason, detail: str) -> Outcome:
    """Return the outcome of a probe that failed through a fault on our side. It never removes a server."""
    return Outcome(OutcomeKind.UNSURE, reason, detail)
