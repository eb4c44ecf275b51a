"""Writes why a real server is as it is: its checks, each layer down to the kernel, and what has happened."""

from collections.abc import Iterator

from lvs_healthd.decide.held import LONGEST_STREAK
from lvs_healthd.probes.exchange import seconds_in_words
from lvs_healthd.probes.outcome import Course
from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.why_values import (
    CheckWhy,
    CourseValues,
    DampingWhy,
    KeptBack,
    Layers,
    OrderWhy,
    RoleWhy,
    ServerWhy,
    StreakValues,
    Why,
)
from lvs_healthd.view.words import ago, announcement, opinion, sourced, stored, time_of_day


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
    what = server.verdict
    if server.is_fallback:
        what = f"a fallback server, {server.verdict}" if server.checks else "a fallback server"
    yield f"{name} is {what}{_since(server.since, now)}{_because(server.reason)}"
    if server.layers is None:
        yield from _as_an_old_daemon_tells(server, now)
        return
    for check in server.checks:
        yield from _check(check, now)
    yield from _layers(server, server.layers, now)
    yield "  history, the newest first:" if server.history else "  history: nothing has happened to it"
    for each in reversed(server.history):
        yield f"    {time_of_day(each.at, now)}  {printable(each.text)}"


MOST_DIRECTORS = 5
"""How many other directors are shown."""


def _more(layers: Layers) -> str:
    more = len(layers.directors) - MOST_DIRECTORS
    return f"; and {more} more" if more > 0 else ""


def _layers(server: ServerWhy, layers: Layers, now: float) -> Iterator[str]:
    """Yield a line for each layer from the verdict to the kernel, and lines for what it consists of."""
    if not server.is_fallback or server.checks:
        yield f"  verdict: {server.verdict}{_since(server.since, now)}"
    if layers.key is not None:
        yield f"  service: from etcd {printable(layers.key.key)}; {stored(layers.key.store, now)}"
    if layers.source is not None:
        yield f"  source: {sourced(layers.source, now)}"
    if layers.directors:
        yield f"  other directors: {'; '.join(map(opinion, layers.directors[:MOST_DIRECTORS]))}{_more(layers)}"
    yield "  orders: " + ("; ".join([_order(each, now) for each in layers.orders]) or "none")
    if not server.is_fallback:
        yield f"  damping: {_damping(layers.damping, now)}"
    gates = [each for each in layers.kept_back if each.by != "reload"]
    yield "  writing: " + ("; ".join([_kept_back(each, now) for each in gates]) or "nothing keeps it back")
    for each in layers.kept_back:
        if each.by == "reload":
            loaded = time_of_day(each.since or now, now)
            yield f"  configuration: of {loaded}; {printable(each.reason)} -> {printable(each.todo)}"
    if layers.role is not None:
        yield f"  role: {_role(layers.role, now)}"
    if layers.announced is not None:
        yield f"  address: {announcement(layers.announced, now)}"
    plan, kernel = layers.plan, layers.kernel
    service = f"; {printable(plan.service)}" if plan.service else ""
    configured = "" if plan.weight in {None, server.weight_configured} else f" (configured {server.weight_configured})"
    yield f"  plan: {_place(plan.weight)}{configured}{_because(plan.reason)}{service}"
    read = "not read yet" if kernel.read is None else f"read {time_of_day(kernel.read, now)}"
    agrees = "as planned"
    if not kernel.is_as_planned:
        agrees = f"NOT as planned, {printable(kernel.difference)} is due: {printable(kernel.todo)}"
    yield f"  kernel: {_place(kernel.weight)}, {read}; {agrees}"


def _role(role: RoleWhy, now: float) -> str:
    probed = "; it is not probed meanwhile, so what is told above is old" if role.suspended else ""
    has = "is" if role.role == "active" else "is not"
    return f"{role.role}{_since(role.since, now)}: {printable(role.vip)} {has} an address of this host{probed}"


def _order(order: OrderWhy, now: float) -> str:
    until = f", until {time_of_day(order.until, now)}" if order.until is not None else ""
    return f"{printable(order.text)}{_since(order.since, now)}{until}"


def _damping(damping: DampingWhy, now: float) -> str:
    if damping.flaps_since is None:
        return "it does not flap"
    flaps = f"it flaps{_since(damping.flaps_since, now)}{_because(damping.reason)}"
    if damping.held_until is not None:
        return f"held out until {time_of_day(damping.held_until, now)} if it stays steady; {flaps}"
    return flaps if damping.is_damped else f"{flaps}; its service does not hold it out"


def _kept_back(kept: KeptBack, now: float) -> str:
    since = _since(kept.since, now) if kept.since is not None else ""
    return f"{printable(kept.reason)}{since}" + (f" -> {printable(kept.todo)}" if kept.todo else "")


def _place(weight: int | None) -> str:
    return "not in the table" if weight is None else f"weight {weight}"


def _since(moment: float | None, now: float) -> str:
    return "" if moment is None else f", since {time_of_day(moment, now)} ({ago(now - moment)})"


def _because(reason: str) -> str:
    return f": {printable(reason)}" if reason else ""


def _as_an_old_daemon_tells(server: ServerWhy, now: float) -> Iterator[str]:
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
    yield f"    last probe {time_of_day(check.last_probe, now)}, {course_in_words(check.course)}"
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
    when = time_of_day(streak.began, now)
    if streak.ended - streak.began >= 1:
        when += f" to {time_of_day(streak.ended, now)}"
    more = " or more" if streak.times == LONGEST_STREAK else ""
    times = f" {streak.times}{more} times" if streak.times > 1 else ""
    return f"{when}  {streak.outcome}{times}: {printable(streak.detail)}"
