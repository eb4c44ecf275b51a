"""Draws the live screen: a head with the daemon and the counts, the lines that fit, and a foot with the keys.

Only the lines in sight are drawn, so a picture costs the same with ten servers and with ten thousand.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.text import Text

from lvs_healthd.cli import draw_status
from lvs_healthd.cli.draw_status import ALARM, COLOURS, NOTICE
from lvs_healthd.cli.watch.answers import Answer
from lvs_healthd.cli.watch.rows import Counts, Row, counts, rows
from lvs_healthd.runtime.printable import printable
from lvs_healthd.view import words
from lvs_healthd.view.status_values import DaemonStatus, RealServerStatus, Status
from lvs_healthd.view.words import ago, time_of_day

HELP = (
    "up down j k           one line up or down",
    "PgUp PgDn space       one screen up or down",
    "Home End g G          to the first or the last line",
    "/                     only lines with this text; Enter keeps it, Esc drops it",
    "b                     only what is bad, or everything again",
    "?                     this help, or back",
    "q Ctrl-C              quit",
    "",
    "First come bad services and servers, then the good ones.",
    "Bad: down, damped, not proven yet, or not in the kernel's table as wanted.",
    draw_status.WEIGHT_LEGEND,
)

_WIDE = 120
"""From so many columns on, addresses get more room."""


@dataclass
class Look:
    """What the operator looks at."""

    only_bad: bool = False
    wanted: str = ""
    """The text to filter for; "" for everything."""
    is_typing: bool = False
    """Whether keys are letters of the filter."""
    is_help: bool = False
    top: int = 0
    """How many lines are scrolled out above."""


@dataclass
class Picture:
    """Turns answers into pictures. What depends on the answer and the filter alone is kept for the next picture."""

    look: Look
    page: int = field(default=1, init=False)
    """How many lines of services and servers the last picture had room for."""
    _known: tuple[Status | None, str, bool] = field(default=(None, "", False), init=False)
    _rows: list[Row] = field(default_factory=list, init=False)
    _counted: Status | None = field(default=None, init=False)
    _counts: Counts | None = field(default=None, init=False)
    _address_width: int = field(default=0, init=False)

    def lines(self, answer: Answer, width: int, height: int, now: float) -> list[Text]:
        """Draw `height` lines of at most `width` cells. `now` is Unix time."""
        self._refresh(answer.status)
        head = [*self._head(answer, width, max(1, height // 4), now)]
        if answer.status is not None and not self.look.is_help:
            head.append(self._titles(width))
        head = head[: max(0, height - 2)]
        self.page = max(1, height - len(head) - 1)
        body = [Text(f"  {line}") for line in HELP] if self.look.is_help else [*self._body(answer.status, width, now)]
        drawn = [*head, *body[: self.page]]
        drawn += [Text()] * (height - 1 - len(drawn))
        drawn = [*drawn, self._foot(width)][-height:]
        for line in drawn:
            line.truncate(width, overflow="ellipsis")
        return drawn

    def _refresh(self, status: Status | None) -> None:
        look = self.look
        known = (status, look.wanted, look.only_bad)
        if status is not None and (
            self._known[0] is not status or self._known[1:] != known[1:]
        ):  # a status is not compared by value: that would take longer than drawing
            self._rows = rows(status, look.wanted, only_bad=look.only_bad)
            self._address_width = max(
                (len(row.server.server) for row in self._rows if row.server is not None), default=0
            )
            self._known = known
        if status is not self._counted and status is not None:
            self._counts, self._counted = counts(status), status

    def _head(self, answer: Answer, width: int, most: int, now: float) -> Iterator[Text]:
        """Yield the lines at the top, of which at most `most` tell what is wrong with the daemon."""
        if answer.error:
            since = f"{time_of_day(answer.away_since, now)} ({ago(now - answer.away_since)})"
            yield Text(
                f"NO ANSWER since {since}; what is below is old" if answer.status else f"NO ANSWER since {since}", ALARM
            )
            yield Text(f"asking again: {printable(answer.error)}", ALARM)
        if answer.status is None or self._counts is None:
            if not answer.error:
                yield Text("waiting for the daemon's first answer")
            return
        daemon = answer.status.daemon
        yield _first_line(daemon, now - answer.at, width, now)
        yield _counts_line(self._counts)
        yield _table_line(daemon, self._counts, now)
        wrong = [Text(line, style=ALARM) for line in words.alarms(daemon)]
        wrong += [Text(line, style=NOTICE) for line in words.notices(daemon, now)]
        if len(wrong) > most:
            more = len(wrong) - most + 1
            wrong = [*wrong[: most - 1], Text(f"and {more} lines more: lvs-healthd status", style=NOTICE)]
        yield from wrong

    def _columns(self, width: int) -> int:
        """Return the width of the column of addresses, cells."""
        return min(max(self._address_width, 6), 47 if width >= _WIDE else 28)

    def _titles(self, width: int) -> Text:
        return Text(f"  {'server':<{self._columns(width)}} verdict  weight     since reason", style="dim")

    def _body(self, status: Status | None, width: int, now: float) -> Iterator[Text]:
        listed, look = self._rows, self.look
        look.top = max(0, min(look.top, len(listed) - self.page))
        if status is not None and not listed:
            yield Text(self._nothing(status))
            return
        seen = listed[look.top : look.top + self.page]
        if seen and seen[0].server is not None:  # its service has been scrolled out, so its line takes this place
            yield draw_status.service_line(seen[0].service)
            seen = seen[1:]
        for row in seen:
            if row.server is None:
                yield draw_status.service_line(row.service)
            else:
                yield _server_line(row.server, self._columns(width), now)

    def _nothing(self, status: Status) -> str:
        if not status.services:
            return "no services are configured"
        bad = "bad " if self.look.only_bad else ""
        return f'nothing {bad}contains "{self.look.wanted}"' if self.look.wanted else "nothing is bad"

    def _foot(self, width: int) -> Text:
        look, listed = self.look, self._rows
        if look.is_typing:
            keys = f"filter: {look.wanted}_   (Enter keeps it, Esc drops it)"
        else:
            filtered = f'  filter "{look.wanted}"' if look.wanted else ""
            keys = f"q quit  ? help  / filter  b only bad{' (on)' if look.only_bad else ''}{filtered}"
        place = f"{look.top + 1}-{min(len(listed), look.top + self.page)} of {len(listed)}" if listed else ""
        return Text(_apart(keys, "" if look.is_help else place, width), style="reverse")


def _apart(left: str, right: str, width: int) -> str:
    """Write one text at the left edge and the other at the right one, which is cut off last."""
    room = max(0, width - len(right) - 1)
    return f"{left[:room]:<{room}} {right}"


def _first_line(daemon: DaemonStatus, age_s: float, width: int, now: float) -> Text:
    name, age = f"lvs-healthd {daemon.version}", f"answer {ago(age_s)} old"
    line = Text(_apart(f"{name}  mode {daemon.mode}  up {ago(now - daemon.started)}  pid {daemon.pid}", age, width))
    line.stylize("bold", 0, len(name))
    if daemon.mode == "shadow":
        line.highlight_words(["mode shadow"], NOTICE)
    return line


def _counts_line(known: Counts) -> Text:
    line = Text(f"services {known.services}")
    if known.bad_services:
        line.append(f", {known.bad_services} bad", style=ALARM)
    line.append(f"   servers {known.servers}")
    for number, (state, many) in enumerate(known.states):
        line.append(", " if number else ": ").append(f"{many} {state}", style=COLOURS.get(state, ""))
    return line


def _table_line(daemon: DaemonStatus, known: Counts, now: float) -> Text:
    read = "never read" if daemon.last_resync is None else f"read {ago(now - daemon.last_resync)} ago"
    line = Text(f"table {read}, ")
    if not known.drift:
        line.append("in sync")
    else:
        services = "1 service differs" if known.drift == 1 else f"{known.drift} services differ"
        line.append(services, style="" if daemon.mode == "shadow" else ALARM)
    line.append("   brake ").append("ON", style=ALARM) if daemon.brakes else line.append("   brake off")
    line.append("   hold ").append("ON", style=NOTICE) if daemon.holds else line.append("   hold off")
    is_well = len([*words.alarms(daemon)]) == len(daemon.brakes)
    line.append("   director ").append("well", style="green") if is_well else line.append(
        "   DIRECTOR: SEE BELOW", ALARM
    )
    return line


def _server_line(server: RealServerStatus, columns: int, now: float) -> Text:
    since = words.since(server, now)
    name = server.server if len(server.server) <= columns else f"{server.server[: columns - 1]}…"
    return Text.assemble(
        f"  {name:<{columns}} ",
        (f"{words.verdict_word(server):<8} ", draw_status.verdict_style(server)),
        (f"{words.weight_words(server):<10} ", draw_status.weights_style(server)),
        f"{since:>5} ",
        draw_status.reason(server),
        *(f"; {printable(part)}" for part in _ordered(server)),
    )


def _ordered(server: RealServerStatus) -> list[str]:
    """Return what operators have ordered about a server, as far as its reason does not say so."""
    return [part for part in server.override.split("; ") if part and part not in server.reason]
