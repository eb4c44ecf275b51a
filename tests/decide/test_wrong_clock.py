"""Certificates out of date: whose fault they are, in tables, and what the daemon makes of it."""

import datetime as dt
import re
import subprocess
from pathlib import Path

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, HttpsCheck, Tls
from lvs_healthd.decide.blame import has_answered
from lvs_healthd.decide.wrong_clock import REPEAT_S, WrongClock
from lvs_healthd.events.kinds import CheckUnsure, ClockSuspected, ClockTrusted, RealServerDown
from lvs_healthd.health.machine import Verdict
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, unsure, up
from lvs_healthd.runtime.release import RELEASED
from lvs_healthd.runtime.utc import utc
from tests.configs import config, server, service
from tests.decide.test_decisions import Bench

DAY = 86400.0
RELEASE = 1_800_000_000.0
WALL = RELEASE + 100 * DAY
"""A clock that is right."""
WAIT_S = 4.0

PASS = up("status 200")
EXPIRED = down(Reason.EXPIRED, "certificate refused: certificate has expired")
EARLY = down(Reason.NOT_YET_VALID, "certificate refused: certificate is not yet valid")
REFUSED = down(Reason.REFUSED, "connection refused")
SORRY = down(Reason.BAD_STATUS, "status 503, expected 200-299")
STALLED = unsure(Reason.STALLED, "its probe worker was killed")


class Clocks:
    """A policy with targets "a", "b", … and the time."""

    def __init__(self, targets: int, *, wall: float = WALL) -> None:
        self.now = 1000.0
        self.offset = wall - self.now
        self.policy = WrongClock(RELEASE)
        self.targets = "abcdefghijklmnop"[:targets]
        for _ in self.targets:
            self.policy.add(WAIT_S)

    @property
    def wall(self) -> float:
        return self.now + self.offset

    def found(self, targets: str, outcome: Outcome) -> str:
        """Give each target this outcome, and return a letter for each: up, down or unsure because of the clock (?)."""
        shown = ""
        for target in targets:
            worth = self.policy.weigh(target, outcome, self.now, self.wall)
            if worth is not outcome:
                assert (worth.kind, worth.reason) == (OutcomeKind.UNSURE, Reason.CLOCK)
                assert worth.detail.startswith(outcome.detail)
            shown += "?" if worth is not outcome else {"up": "u", "down": "d", "unsure": "s"}[worth.kind]
        return shown


Step = tuple[float, str, Outcome, str]
"""Seconds to wait, the targets, what they find, and what that is worth."""

TABLE: dict[str, tuple[int, list[Step]]] = {
    "one target alone is down at once": (1, [(0, "a", EXPIRED, "d"), (2, "a", EXPIRED, "d")]),
    "one of three is down once the others have had their turn": (
        3,
        [(0, "a", EXPIRED, "?"), (2, "bc", PASS, "uu"), (0, "a", EXPIRED, "?"), (2, "a", EXPIRED, "d")],
    ),
    "half of four begin together": (
        4,
        [(0, "a", EXPIRED, "?"), (1, "b", EXPIRED, "?"), (9, "ab", EXPIRED, "??"), (90 * DAY, "ab", EXPIRED, "??")],
    ),
    "fewer than half are down": (5, [(0, "ab", EXPIRED, "??"), (2, "cde", PASS, "uuu"), (3, "ab", EXPIRED, "dd")]),
    "both kinds are of one clock": (2, [(0, "a", EXPIRED, "?"), (1, "b", EARLY, "?"), (9, "ab", EXPIRED, "??")]),
    "a minute apart is not together": (
        4,
        [(0, "a", EXPIRED, "?"), (61, "b", EXPIRED, "?"), (5, "b", EXPIRED, "d"), (0, "a", EXPIRED, "d")],
    ),
    "targets that failed so before tell nothing": (
        4,
        [
            (0, "a", EXPIRED, "?"),
            (90, "a", EXPIRED, "d"),
            (0, "bc", EXPIRED, "??"),
            (9, "abc", EXPIRED, "d??"),
        ],
    ),
    "the last two that did not fail before are enough": (
        4,
        [
            (0, "a", EXPIRED, "?"),
            (90, "a", EXPIRED, "d"),
            (0, "b", EXPIRED, "?"),
            (90, "b", EXPIRED, "d"),
            (0, "cd", EXPIRED, "??"),
            (9, "abcd", EXPIRED, "dd??"),
        ],
    ),
    "the only one that did not fail before is down": (
        2,
        [(0, "a", EXPIRED, "?"), (90, "a", EXPIRED, "d"), (0, "b", EXPIRED, "d")],
    ),
    "one that follows later is of the same clock": (
        4,
        [(0, "ab", EXPIRED, "??"), (3600, "c", EXPIRED, "?"), (9, "abc", EXPIRED, "???")],
    ),
    "the clock is put right": (3, [(0, "abc", EXPIRED, "???"), (9, "abc", PASS, "uuu"), (1, "a", PASS, "u")]),
    "half have a new certificate, so the others are down": (
        4,
        [
            (0, "abcd", EXPIRED, "????"),
            (9, "a", PASS, "u"),
            (0, "bcd", EXPIRED, "???"),
            (9, "b", SORRY, "d"),
            (0, "cd", EXPIRED, "dd"),
            (2, "cd", EXPIRED, "dd"),
        ],
    ),
    "a server that is restarted proves nothing about the clock": (
        2,
        [(0, "ab", EXPIRED, "??"), (9, "a", REFUSED, "d"), (0, "a", STALLED, "s"), (0, "ab", EXPIRED, "??")],
    ),
    "a suspicion that is over may be followed by another one": (
        2,
        [(0, "ab", EXPIRED, "??"), (9, "ab", PASS, "uu"), (9, "a", EXPIRED, "?"), (9, "a", EXPIRED, "d")],
    ),
    "other failures are none of this": (2, [(0, "ab", REFUSED, "dd"), (0, "ab", SORRY, "dd"), (0, "ab", PASS, "uu")]),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_each_outcome_is_worth_when_the_clock_is_not_behind(name: str) -> None:
    targets, steps = TABLE[name]
    clocks = Clocks(targets)
    for wait_s, which, outcome, worth in steps:
        clocks.now += wait_s
        assert clocks.found(which, outcome) == worth, (wait_s, which)


@pytest.mark.parametrize(
    ("wall", "written", "outcome", "worth"),
    [
        (RELEASE - 60, 0.0, EARLY, "?"),
        (RELEASE, 0.0, EARLY, "d"),
        (0.0, 0.0, EARLY, "?"),
        (0.0, 0.0, EXPIRED, "d"),  # what has expired by a clock that is behind has really expired
        (WALL, WALL + DAY, EARLY, "?"),
        (WALL, WALL + DAY, EXPIRED, "d"),
        (WALL, WALL + 30.0, EARLY, "d"),
        (WALL, WALL - DAY, EARLY, "d"),
        (RELEASE - 1, WALL, EARLY, "?"),
        (WALL, float("nan"), EARLY, "d"),
        (WALL, 1e300, EARLY, "d"),
    ],
)
def test_clock_that_says_less_than_it_must_makes_not_yet_valid_unsure(
    wall: float, written: float, outcome: Outcome, worth: str
) -> None:
    clocks = Clocks(1, wall=wall)
    clocks.policy.remember(written, clocks.now)
    assert clocks.found("a", outcome) == worth
    clocks.now += 30 * DAY if worth == "d" else 5.0
    assert clocks.found("a", outcome) == worth


def test_clock_that_jumps_back_at_run_time_is_seen_by_the_last_save_and_the_time_since() -> None:
    clocks = Clocks(1)
    assert clocks.policy.saved(clocks.now, clocks.wall) == WALL
    clocks.now += 30 * DAY
    clocks.offset -= 10 * DAY
    assert clocks.found("a", EARLY) == "?"
    assert "(reckoned from the state file)" in clocks.policy.why
    # A save by the wrong clock does not make it right.
    assert clocks.policy.saved(clocks.now, clocks.wall) == WALL + 30 * DAY
    assert clocks.found("a", EARLY) == "?"
    clocks.offset += 10 * DAY
    assert clocks.found("a", EARLY) == "d"
    assert clocks.policy.why == ""


def test_small_steps_back_are_followed() -> None:
    clocks = Clocks(1)
    clocks.policy.saved(clocks.now, clocks.wall)
    clocks.offset -= 50.0
    assert clocks.policy.saved(clocks.now, clocks.wall) == clocks.wall
    clocks.offset -= 50.0
    assert clocks.found("a", EARLY) == "d"


@pytest.mark.parametrize("left", ["a", "ab"])
def test_target_that_a_reload_drops_is_counted_no_longer(left: str) -> None:
    clocks = Clocks(4)
    clocks.found("abc", EXPIRED)
    for dropped in set("abcd") - set(left):
        clocks.policy.forget(dropped, WAIT_S)
    clocks.now += 9.0
    assert clocks.found(left, EXPIRED) == "?" * len(left)
    for dropped in left:
        clocks.policy.forget(dropped, WAIT_S)
    assert clocks.policy.why == ""


def test_reason_says_what_the_clock_says_why_it_is_suspected_and_what_to_type() -> None:
    clocks = Clocks(2)
    clocks.found("ab", EXPIRED)
    said = utc(WALL)
    assert clocks.policy.why == (
        f"at least 2 of 2 verified targets began to fail so within a minute: the director's clock, which said {said}, "
        "may be wrong. If it is right, renew the certificates: "
        "`timedatectl` shows the clock, and `timedatectl set-ntp true` sets it"
    )
    behind = Clocks(1, wall=0.0)
    behind.found("a", EARLY)
    assert behind.policy.why.startswith(
        "the director's clock is wrong: it said 1970-01-01 00:00 UTC, while the time was at least "
        f"{utc(RELEASE)} (when this program was released): `timedatectl`"
    )


def test_same_outcome_is_the_same_object_each_time() -> None:
    clocks = Clocks(2)
    clocks.found("ab", EXPIRED)
    found = {id(clocks.policy.weigh(each, EXPIRED, clocks.now, clocks.wall)) for each in "abab"}
    assert len(found) == 1


def test_suspicion_is_reported_at_once_every_hour_and_when_it_is_over() -> None:
    clocks = Clocks(3)
    clocks.found("a", EXPIRED)
    assert clocks.policy.news(clocks.now, clocks.wall) is None
    clocks.found("b", EXPIRED)
    first = clocks.policy.news(clocks.now, clocks.wall)
    assert isinstance(first, ClockSuspected)
    assert (first.targets, first.verified, first.reason) == (2, 3, clocks.policy.why)
    clocks.now += REPEAT_S - 1
    assert clocks.policy.news(clocks.now, clocks.wall) is None
    clocks.now += 1
    assert isinstance(clocks.policy.news(clocks.now, clocks.wall), ClockSuspected)
    clocks.found("ab", PASS)
    over = clocks.policy.news(clocks.now, clocks.wall)
    assert isinstance(over, ClockTrusted)
    assert over.after_s == REPEAT_S
    assert clocks.policy.news(clocks.now, clocks.wall) is None


# Within the daemon's decisions

ADDRESSES = ("198.51.100.11", "198.51.100.12", "198.51.100.13")


def https(address: str) -> HttpsCheck:
    return HttpsCheck(name="https", address=address, port=443, host="web.example", interval=Seconds(2.0))


CHECKS: tuple[AnyCheck, ...] = tuple(https(address) for address in ADDRESSES)
SERVERS = config(
    service(*(server(each, checks=(check,)) for each, check in zip(ADDRESSES, CHECKS, strict=True)), port=443)
)


def serving() -> Bench:
    bench = Bench()
    bench.configure(SERVERS)
    for check in CHECKS:
        bench.feed(check, PASS, PASS)
    assert len(bench.weights()) == 3
    return bench


@pytest.mark.parametrize("outcome", [EXPIRED, EARLY])
def test_wrong_clock_removes_no_server_and_is_told(outcome: Outcome) -> None:
    bench = serving()
    for _ in range(5):
        for check in CHECKS:
            bench.feed(check, outcome)
    assert len(bench.weights()) == 3
    assert bench.of(RealServerDown) == []
    assert len(bench.of(CheckUnsure)) == 3
    assert len(bench.of(ClockSuspected)) == 1
    assert bench.decisions.unsure_probes()[0] == 3
    assert bench.decisions.clock_suspected
    assert bench.observed.count(("web", "https", "unsure")) == 15
    for check in CHECKS:
        bench.feed(check, PASS)
    assert len(bench.of(ClockTrusted)) == 1
    assert bench.decisions.clock_suspected == ""
    assert len(bench.weights()) == 3


def test_single_expired_certificate_takes_its_server_out() -> None:
    bench = serving()
    for _ in range(6):
        bench.feed(CHECKS[0], EXPIRED)
        bench.feed(CHECKS[1], PASS)
    assert bench.verdict(ADDRESSES[0]) is Verdict.DOWN
    assert sorted(bench.weights()) == list(ADDRESSES[1:])
    assert bench.of(ClockSuspected) == []


def test_state_file_from_later_than_now_makes_not_yet_valid_unsure() -> None:
    bench = serving()
    wall = bench.decisions._wall()
    assert wall < RELEASED.timestamp()  # the bench's clock
    bench.decisions.remember(wall + DAY)
    for _ in range(9):
        bench.feed(CHECKS[0], EARLY)
    assert len(bench.weights()) == 3
    assert len(bench.of(ClockSuspected)) == 1


def test_reload_that_drops_the_last_suspect_ends_the_suspicion() -> None:
    bench = serving()
    for check in CHECKS:
        bench.feed(check, EXPIRED)
    assert bench.decisions.clock_suspected
    bench.configure(config(service(server("198.51.100.99", checks=(https("198.51.100.99"),)), port=443)))
    assert bench.decisions.clock_suspected == ""
    assert len(bench.of(ClockTrusted)) == 1


def test_check_that_verifies_nothing_is_not_counted() -> None:
    unverified = HttpsCheck(name="https", address=ADDRESSES[0], port=443, host="web.example", tls=Tls(verify=False))
    bench = Bench()
    bench.configure(config(service(server(ADDRESSES[0], checks=(unverified,)), port=443)))
    assert bench.decisions.verdicts.wrong_clock._waits.total() == 0


@pytest.mark.parametrize("outcome", [EXPIRED, EARLY, unsure(Reason.CLOCK, EXPIRED.detail)])
def test_certificate_out_of_date_shows_that_the_host_is_reached(outcome: Outcome) -> None:
    assert has_answered(https(ADDRESSES[0]), outcome)


# The release


def test_release_is_no_later_than_the_last_commit_and_no_earlier_than_the_newest_version() -> None:
    """A release in the future would put every right clock under suspicion; an old one would see little."""
    root = Path(__file__).parents[2]
    committed = subprocess.run(
        ["git", "log", "-1", "--format=%cI"], cwd=root, capture_output=True, text=True, check=False
    ).stdout.strip()
    if committed:
        assert dt.datetime.fromisoformat(committed) >= RELEASED
    versions = re.findall(r"^## \S+ - (\d{4}-\d\d-\d\d)$", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    for each in versions:
        assert dt.datetime.fromisoformat(each).replace(tzinfo=dt.UTC) <= RELEASED
