"""What one probe found. Never a bool: a fault on our own side must not count against a server."""

import enum

import msgspec


class OutcomeKind(enum.StrEnum):
    """The three values of an outcome."""

    UP = "up"
    DOWN = "down"
    UNSURE = "unsure"


class Reason(enum.StrEnum):
    """Why, as a closed set: the label of metrics and the stable part of logs."""

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
    LOCAL_LIMIT = "local_limit"
    """Our descriptors, ports or buffers ran out."""
    LOCAL_NETWORK = "local_network"
    """Our interface, route or firewall is in the way."""
    STALLED = "stalled"
    """We were too late to judge: this process did not run while the answer was due."""


class Outcome(msgspec.Struct, frozen=True):
    """What one probe found. `detail` is the sentence an operator reads ("status 503, expected 200-299").

    How long the probe took is told beside it, so that the usual outcomes are made once and not once a probe.
    """

    kind: OutcomeKind
    reason: Reason
    detail: str


def up(detail: str) -> Outcome:
    """Say that the target answered as it should."""
    return Outcome(OutcomeKind.UP, Reason.PASSED, detail)


def down(reason: Reason, detail: str) -> Outcome:
    """Say that the target failed, by its own doing."""
    return Outcome(OutcomeKind.DOWN, reason, detail)


def unsure(reason: Reason, detail: str) -> Outcome:
    """Say that we could not find out, through a fault on our side; never removes a server."""
    return Outcome(OutcomeKind.UNSURE, reason, detail)
