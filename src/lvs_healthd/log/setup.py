"""Sets up structlog, routes the libraries' log messages into it, and writes each event from the bus."""

import logging
import os
import sys
import time
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

from lvs_healthd.events.kinds import (
    Event,
    RealServerDown,
    RealServerUp,
    ServiceBelow,
    ServiceEnough,
    ServiceFallback,
    ServiceServing,
    TableFight,
)
from lvs_healthd.log.format import Format, as_json, readable
from lvs_healthd.log.journal import SOCKET, JournalWriter, is_journal
from lvs_healthd.log.limit import REPEAT_S, RateLimit
from lvs_healthd.log.without_rich import structlog
from lvs_healthd.log.writer import LineWriter

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

TRANSITIONS = (RealServerUp, RealServerDown, ServiceBelow, ServiceEnough, ServiceFallback, ServiceServing)
"""Events that an operator must always find in the log, even in a mass failure. Each has a line of its own, or is named
in a summary."""

_MANY_AT_ONCE = (ServiceBelow, ServiceFallback, TableFight)
"""Errors that thousands of services or servers may have at once."""

_Fields = MutableMapping[str, Any]


def configure(
    stream: TextIO | None = None,
    *,
    level: str = "info",
    json: bool | None = None,
    journal_socket: str = SOCKET,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
) -> "EventLog":
    """Set up all logging of the process, and return the listener that writes events. A second call starts over.

    stream: where lines go; None means standard error.
    level: the lowest level to write: "debug", "info", "warning" or "error".
    json: whether to write JSON; None means JSON unless the stream is a terminal.
    journal_socket: the path of the journal's socket, used with JSON if the stream leads to the journal.
    clock: monotonic seconds, for the rate limit.
    wall: Unix time in seconds, for the timestamps.
    """
    target: TextIO | None = stream or sys.stderr
    if target is not None and target.closed:
        target = None
    lines = LineWriter(target)
    to_journal = json is not False and target is not None and is_journal(target)
    journal = JournalWriter(lines, journal_socket) if to_journal else None
    write = _format(target, json=json)

    def stamp(_: object, method: str, fields: _Fields) -> _Fields:
        # The timestamp comes first, so that every line begins the same way.
        now = datetime.fromtimestamp(wall(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"timestamp": now, "level": method, "event": fields.pop("event"), **fields}

    def render(_: object, __: str, fields: _Fields) -> str | tuple[tuple[_Fields], dict[str, Any]]:
        # structlog takes a tuple for the arguments of the logger's method.
        return write(fields) if journal is None else ((fields,), {})

    limited = _Limited(clock)
    structlog.configure(
        processors=[limited.library, structlog.processors.format_exc_info, stamp, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _Lines(lines.write if journal is None else journal.write),
        cache_logger_on_first_use=False,
    )
    _route_libraries(_LEVELS[level])
    return EventLog(journal or lines, limited, clock, _LEVELS[level])


class EventLog:
    """Writes events to the log, as a listener on the event bus.

    Call `flush` about once a second, and `close` at the end.
    """

    def __init__(
        self, writer: LineWriter | JournalWriter, limited: "_Limited", clock: Callable[[], float], level: int
    ) -> None:
        self._writer = writer
        self._level = level
        self._limited = limited
        self._clock = clock
        self._logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        self._dropped_told = 0
        self._unlabelled_told = 0
        self._unlabelled_at = -REPEAT_S

    @property
    def dropped(self) -> int:
        """How many lines were lost so far, because nobody read the stream or it was closed."""
        return self._writer.dropped

    @property
    def suppressed(self) -> int:
        """How many lines the rate limit has held back so far."""
        return self._limited.total

    def __call__(self, event: Event) -> None:
        """Write one event. If a summary of earlier events is due, it is written first."""
        self.flush()
        level = _LEVELS[event.level]
        # Events are filtered here and not in structlog, because nearly all of ten thousand simultaneous failures are
        # counted instead of written.
        if level >= self._level and self._limited.admits(event):
            fields = {name: _plain(getattr(event, name)) for name in event.__struct_fields__}
            self._logger.log(level, event.name, **fields)

    def flush(self) -> None:
        """Write the summary of held-back lines, and the number of lost lines, if they are due."""
        if self._limited.limit.due(self._clock()):
            self._summarise()
        if self._writer.working and self._writer.dropped > self._dropped_told:
            lost = self._writer.dropped - self._dropped_told
            self._dropped_told = self._writer.dropped
            self._logger.warning("log.dropped", lines=lost)
        if isinstance(self._writer, JournalWriter) and self._writer.unlabelled > self._unlabelled_told:
            self._tell_unlabelled(self._writer)

    def close(self) -> None:
        """Write the last summary, even if it is not due yet, and close the stream."""
        self._summarise()
        self.flush()
        self._writer.close()

    def _tell_unlabelled(self, journal: JournalWriter) -> None:
        now = self._clock()
        if now - self._unlabelled_at < REPEAT_S:
            return
        self._unlabelled_at = now
        lines = journal.unlabelled - self._unlabelled_told
        self._logger.warning("log.unlabelled", lines=lines, error=journal.error)
        # This line may be without fields too, and must not be the reason for another one.
        self._unlabelled_told = journal.unlabelled

    def _summarise(self) -> None:
        for summary in self._limited.limit.take():
            total = sum(summary.counts.values())
            self._logger.warning("log.suppressed", total=total, counts=summary.counts, most=summary.most)


class _Limited:
    """Applies the rate limit to events and, as a structlog processor, to libraries' messages.

    Our own errors always pass, except for `_MANY_AT_ONCE`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.limit = RateLimit()
        self.total = 0
        self._clock = clock

    def admits(self, event: Event) -> bool:
        """Whether this event may be written now. If not, it is counted for the summary."""
        if event.level == "error" and not isinstance(event, _MANY_AT_ONCE):
            return True
        # Each operation has a limit of its own. So the removals of many servers do not crowd out the line about the
        # fallback server that is added because of them.
        kind = getattr(event, "operation", "")
        about = getattr(event, "service", "")
        if about and (reason := getattr(event, "reason", "")):
            about = f"{about}: {reason}"
        if self.limit.admit(event.name, self._clock(), kind=kind, about=about, in_full=isinstance(event, TRANSITIONS)):
            return True
        self.total += 1
        return False

    def library(self, _: object, __: str, fields: _Fields) -> _Fields:
        """Return a library's message unchanged, or raise `structlog.DropEvent` to hold it back."""
        if fields["event"] != "library.message":
            return fields
        first_line = str(fields["message"]).partition("\n")[0]
        if self.limit.admit_message(fields["event"], self._clock(), f"{fields['logger']}: {first_line}"):
            return fields
        self.total += 1
        raise structlog.DropEvent


class _Lines:
    """The logger to which structlog hands what `render` returns."""

    def __init__(self, write: Callable[..., None]) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = write


class _LibraryHandler(logging.Handler):
    """Turns log records of libraries that use the standard `logging` (aiohttp, asyncio) into lines of this log."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = str(record.msg)
        # Libraries may define levels of their own. Such a level becomes the nearest of the four levels below it.
        level = max((known for known in _LEVELS.values() if known <= record.levelno), default=logging.DEBUG)
        exception = {"exc_info": record.exc_info} if record.exc_info else {}
        structlog.get_logger().log(level, "library.message", logger=record.name, message=message, **exception)


def _route_libraries(level: int) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _LibraryHandler)]:
        root.removeHandler(handler)
    root.addHandler(_LibraryHandler())
    # Messages below a warning are meant for the libraries' own developers.
    root.setLevel(max(level, logging.WARNING))


def _format(stream: TextIO | None, *, json: bool | None) -> Format:
    terminal = stream is not None and stream.isatty()
    if json is False or (json is None and terminal):
        # https://no-color.org
        return readable(colour=terminal and not os.environ.get("NO_COLOR"))
    return as_json


def _plain(value: object) -> object:
    """Round durations to the millisecond, because more digits are noise to a reader."""
    return round(value, 3) if isinstance(value, float) else value
