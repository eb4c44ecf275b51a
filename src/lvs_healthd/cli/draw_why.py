"""Writes why a real server is up or down, as lines that tell the newest first, and how a probe went."""

import time
from collections.abc import Iterator

from lvs_healthd.cli.draw_status import ago
from lvs_healthd.decide.held import LONGEST_STREAK
from lvs_healthd.probes.exchange import seconds_in_words
from lvs_healthd.probes.outcome import Course
from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.why_values import CheckWhy, CourseValues, ServerWhy, StreakValues, Why

_DAY_S = 86400.0


def lines(answer: Why) -> Iterator[str]:
    """Yield the lines of the answer."""
    for number, server in enumerate(answer.servers):
        if number:
            yield ""
        yield from _server(server, answer.now)


def course_in_words(course: Course | CourseValues) -> str:
    """Say how long a probe took, and how long to get how far."""
    reached = [
        f"{what} after {_milliseconds(at_s)}"
        for what, at_s in (
            ("connected", course.connected_s),
            ("TLS", course.secured_s),
            ("first byte", course.answered_s),
        )
        if at_s is not None
    ]
    return _milliseconds(course.total_s) + (f": {', '.join(reached)}" if reached else "")


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _server(server: ServerWhy, now: float) -> Iterator[str]:
    name = f"{printable(server.service)} {server.server}"
    reason = f": {printable(server.reason)}" if server.reason else ""
    yield f"{name} is {server.verdict}, since {_clock(server.since, now)} ({ago(now - server.since)}){reason}"
    wanted, actual = (_weight(weight) for weight in (server.weight_wanted, server.weight_actual))
    why = f" ({printable(server.table_reason)})" if server.table_reason else ""
    yield f"  weight: configured {server.weight_configured}, wanted {wanted}{why}, in the kernel's table {actual}"
    if server.override:
        yield f"  operators: {printable(server.override)}"
    for check in server.checks:
        yield from _check(check, now)


def _weight(weight: int | None) -> str:
    return "none" if weight is None else str(weight)


def _check(check: CheckWhy, now: float) -> Iterator[str]:
    named = check.name if check.name == check.type else f"{printable(check.name)} ({check.type})"
    target = f" of {check.target}" if check.target else ""
    every = f"every {seconds_in_words(check.interval_s)}"
    every += f" (now {seconds_in_words(check.pace_s)})" if check.pace_s not in {0.0, check.interval_s} else ""
    every += f", timeout {seconds_in_words(check.timeout_s)}"
    yield f"  check {named}{target}, {every}: {check.verdict}{_towards(check)}"
    if check.course is None or check.last_probe is None:
        yield "    not probed yet"
        return
    yield f"    last probe {_clock(check.last_probe, now)}, {course_in_words(check.course)}"
    failed = check.last_failed
    if failed is not None and failed.heard:
        yield f"    the last one that did not pass heard {printable(failed.heard)}"
    for streak in reversed(check.streaks):
        yield f"    {_streak(streak, now)}"


def _towards(check: CheckWhy) -> str:
    """Say how far the check is on its way to another verdict."""
    if check.verdict != "down" and check.failures:
        return f", {check.failures} of {check.fall} failures that take it down"
    if check.verdict != "up" and check.passes:
        return f", {check.passes} of {check.rise} passes that bring it up"
    return ""


def _streak(streak: StreakValues, now: float) -> str:
    when = _clock(streak.began, now)
    if streak.ended - streak.began >= 1:
        when += f" to {_clock(streak.ended, now)}"
    more = " or more" if streak.times == LONGEST_STREAK else ""
    times = f" {streak.times}{more} times" if streak.times > 1 else ""
    return f"{when}  {streak.outcome}{times}: {printable(streak.detail)}"


def _clock(moment: float, now: float) -> str:
    """Write a Unix time as the local time of day, with the date if it is not within a day."""
    pattern = "%H:%M:%S" if now - moment < _DAY_S else "%Y-%m-%d %H:%M:%S"
    return time.strftime(pattern, time.localtime(moment))
