"""What reaches the stream: JSON, the terminal's form, levels, the rate limit, and other libraries' logging."""

import contextlib
import io
import json
import logging
import os
import pty
from collections import Counter
from typing import Any

import msgspec
import pytest
import structlog

from lvs_healthd import log
from lvs_healthd.events.kinds import (
    CheckFailing,
    ConfigRejected,
    DaemonStopping,
    Event,
    RealServerDown,
    ServiceFallback,
    TableChanged,
    TableError,
    TableFight,
)
from lvs_healthd.log.limit import LINES_PER_SECOND
from lvs_healthd.log.writer import LineWriter

AT = 1_700_000_000.1234
DOWN = RealServerDown(
    service="web",
    server="198.51.100.11:80",
    check="http",
    reason="connection refused",
    failures=3,
    fall=3,
    was="up",
    after_s=62.123456,
)
TABLE_ERROR = TableError(operation="add_server", service="web", server="198.51.100.11:80", error="EPERM", retry_s=1.0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Log:
    """A configured log with a clock that a test steps, and the lines written so far."""

    def __init__(self, *, level: str = "info") -> None:
        self.stream = io.StringIO()
        self.clock = Clock()
        self.listener = log.configure(self.stream, level=level, clock=self.clock, wall=lambda: AT)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def names(self) -> list[str]:
        return [line["event"] for line in self.lines()]


def test_event_is_one_flat_json_line_in_stable_order() -> None:
    logged = Log()
    logged.listener(DOWN)
    assert logged.stream.getvalue() == (
        '{"timestamp":"2023-11-14T22:13:20.123Z","level":"warning","event":"real_server.down","service":"web",'
        '"server":"198.51.100.11:80","check":"http","reason":"connection refused","failures":3,"fall":3,"was":"up",'
        '"after_s":62.123}\n'
    )


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["daemon.stopping", "real_server.down", "table.error"]),
        ("info", ["daemon.stopping", "real_server.down", "table.error"]),
        ("warning", ["real_server.down", "table.error"]),
        ("error", ["table.error"]),
    ],
)
def test_level_is_a_threshold(level: str, written: list[str]) -> None:
    logged = Log(level=level)
    for event in (DaemonStopping(signal="SIGTERM"), DOWN, TABLE_ERROR):
        logged.listener(event)
    assert logged.names() == written


@pytest.mark.parametrize(
    "event",
    [
        ServiceFallback(service="web", fallback=()),
        TableFight(service="web", server="198.51.100.11:80", times=3, hold_s=20.0, suspects=()),
    ],
)
def test_errors_that_thousands_may_have_at_once_are_no_flood(event: Event) -> None:
    logged = Log()
    for number in range(1000):
        logged.listener(msgspec.structs.replace(event, service=f"web {number}"))
    logged.listener.close()
    assert logged.names() == [*[event.name] * LINES_PER_SECOND, "log.suppressed"]


def test_hostile_text_stays_inside_its_json_string() -> None:
    logged = Log()
    reason = 'x"}\n{"event":"daemon.started"\x1b[2J\udc80'
    logged.listener(
        CheckFailing(service="web", server="s", check="http", reason=reason, failures=1, fall=3, verdict="up")
    )
    (line,) = logged.lines()
    assert line["reason"] == reason


def test_mass_failure_writes_the_first_lines_and_one_summary() -> None:
    logged = Log()
    for _ in range(10_000):
        logged.listener(DOWN)
    logged.listener.flush()
    assert logged.names() == ["real_server.down"] * LINES_PER_SECOND
    logged.clock.now = 1.0
    logged.listener.flush()
    logged.listener.flush()
    summary = logged.lines()[LINES_PER_SECOND:]
    assert summary == [
        {
            "timestamp": "2023-11-14T22:13:20.123Z",
            "level": "warning",
            "event": "log.suppressed",
            "total": 10_000 - LINES_PER_SECOND,
            "counts": {"real_server.down": 10_000 - LINES_PER_SECOND},
            "most": {"real_server.down web: connection refused": 10_000 - LINES_PER_SECOND},
        }
    ]
    assert logged.listener.suppressed == 10_000 - LINES_PER_SECOND


def test_every_transition_of_a_mass_failure_is_a_line_or_in_a_summary() -> None:
    logged = Log()
    names = [f"service-{number}" for number in range(300)]
    for number, name in enumerate(names):
        logged.clock.now = number / 100  # over three seconds
        logged.listener(msgspec.structs.replace(DOWN, service=name))
        logged.listener(ServiceFallback(service=name, fallback=()))
    logged.listener.close()
    told: Counter[tuple[str, str]] = Counter()
    for line in logged.lines():
        if line["event"] == "log.suppressed":
            assert line["total"] == sum(line["counts"].values()) == sum(line["most"].values())
            for key, count in line["most"].items():
                event, _, about = key.partition(" ")
                told[event, about.removesuffix(": connection refused")] += count
        else:
            told[line["event"], line["service"]] += 1
    assert told == {(event, name): 1 for event in ("real_server.down", "service.fallback") for name in names}


def test_summary_of_very_many_services_is_cut_into_lines_that_a_journal_takes_whole() -> None:
    logged = Log()
    for number in range(5000):
        logged.listener(msgspec.structs.replace(DOWN, service=f"service-{number}"))
    logged.listener.close()
    summaries = [line for line in logged.stream.getvalue().splitlines() if '"log.suppressed"' in line]
    assert len(summaries) > 1
    assert max(map(len, summaries)) < 48 * 1024
    assert sum(json.loads(line)["total"] for line in summaries) == 5000 - LINES_PER_SECOND


def test_summary_comes_before_the_next_event_when_no_tick_came_first() -> None:
    logged = Log()
    for _ in range(LINES_PER_SECOND + 1):
        logged.listener(DOWN)
    logged.clock.now = 5.0
    logged.listener(DOWN)
    assert logged.names()[LINES_PER_SECOND:] == ["log.suppressed", "real_server.down"]


def test_close_writes_the_last_summary_before_it_is_due() -> None:
    logged = Log()
    for _ in range(LINES_PER_SECOND + 3):
        logged.listener(DOWN)
    logged.listener.close()
    assert logged.lines()[-1]["counts"] == {"real_server.down": 3}


@pytest.mark.parametrize("event", [TABLE_ERROR, ConfigRejected(file="f", errors=("e",))])
def test_errors_are_never_suppressed(event: Event) -> None:
    logged = Log()
    for _ in range(500):
        logged.listener(event)
    assert len(logged.lines()) == 500
    assert logged.listener.suppressed == 0


def test_lines_below_the_level_are_not_counted_as_suppressed() -> None:
    logged = Log(level="error")
    for _ in range(500):
        logged.listener(DOWN)
    logged.listener.close()
    assert logged.lines() == []


def test_lost_lines_are_told_once_the_reader_is_back() -> None:
    logged = Log()
    writer = logged.listener._writer
    assert isinstance(writer, LineWriter)
    writer._stream = None
    for _ in range(3):
        logged.listener(DOWN)
    assert logged.listener.dropped == 3
    logged.listener.flush()
    writer._stream = logged.stream
    logged.listener(DOWN)
    logged.listener.flush()
    logged.listener.flush()
    assert logged.names() == ["real_server.down", "log.dropped"]
    assert logged.lines()[1]["lines"] == 3


def test_libraries_log_in_the_same_form() -> None:
    logged = Log()
    try:
        int("peer")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling %s", "request")
    (line,) = logged.lines()
    assert (line["level"], line["event"], line["logger"], line["message"]) == (
        "error",
        "library.message",
        "aiohttp.server",
        "Error handling request",
    )
    assert "ValueError: invalid literal" in line["exception"]


def test_library_with_a_broken_format_string_or_odd_level_still_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    logged = Log()
    # pytest's own handlers would raise on the broken record. Ours is the last one added.
    monkeypatch.setattr(logging.getLogger(), "handlers", logging.getLogger().handlers[-1:])
    library = logging.getLogger("asyncio")
    library.warning("%d servers", "many")
    library.log(35, "between warning and error")
    assert [(line["level"], line["message"]) for line in logged.lines()] == [
        ("warning", "%d servers"),
        ("warning", "between warning and error"),
    ]


def test_library_chatter_below_a_warning_is_not_ours() -> None:
    logged = Log(level="debug")
    logging.getLogger("asyncio").info("Using selector: EpollSelector")
    assert logged.lines() == []


def test_configuring_again_does_not_double_the_lines() -> None:
    Log()
    logged = Log()
    logging.getLogger("asyncio").warning("once")
    structlog.get_logger().info("daemon.stopping")
    assert logged.names() == ["library.message", "daemon.stopping"]


def on_terminal(event: Event, monkeypatch: pytest.MonkeyPatch, *, no_color: bool) -> str:
    """Write one event to a real pseudo-terminal."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb", buffering=0) as reader, os.fdopen(follower, "w") as stream:
        written = log.configure(stream, wall=lambda: AT)
        written(event)
        written.close()
        stream.close()
        shown = b""
        # The kernel delivers a terminal's text in parts of any size, and on Linux the end shows as an error.
        with contextlib.suppress(OSError):
            while part := reader.read(4096):
                shown += part
        return shown.decode().replace("\r\n", "\n")


def test_terminal_gets_a_readable_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_terminal(DOWN, monkeypatch, no_color=True) == (
        "2023-11-14T22:13:20.123Z warning real_server.down  service=web server=198.51.100.11:80 check=http "
        'reason="connection refused" failures=3/3 was=up after_s=62.123\n'
    )


def test_terminal_gets_colour_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[33mwarning" in on_terminal(DOWN, monkeypatch, no_color=False)


def test_terminal_is_safe_from_a_server_that_answers_with_escape_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    event = CheckFailing(
        service="web",
        server="s",
        check="http",
        reason='\x1b]0;owned\x07\n"x" \x9b2J',
        failures=1,
        fall=3,
        verdict="up",
    )
    line = on_terminal(event, monkeypatch, no_color=True)
    assert line.endswith('reason="\\x1b]0;owned\\x07\\n\\"x\\" \\x9b2J" failures=1/3 verdict=up\n')


def test_terminal_lists_configuration_errors_one_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    event = ConfigRejected(file="config.toml", errors=("line 3: bad", "line 9: worse"))
    lines = on_terminal(event, monkeypatch, no_color=True).splitlines()
    assert lines[1:] == ["    line 3: bad", "    line 9: worse"]


def test_terminal_leaves_out_what_is_not_known_and_spells_booleans(monkeypatch: pytest.MonkeyPatch) -> None:
    event = TableChanged(operation="add_server", service="web", server="s", reason="", fields="weight 1", shadow=True)
    line = on_terminal(event, monkeypatch, no_color=True)
    assert line.endswith('reason="" fields="weight 1" shadow=yes\n')


def test_journal_variable_of_another_stream_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    logged = Log()
    logged.listener(DOWN)
    assert logged.stream.getvalue().startswith("{")


def test_standard_error_that_was_closed_before_start_costs_only_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    listener = log.configure()
    listener(DOWN)
    assert listener.dropped == 1


def test_stream_that_is_closed_already_costs_only_the_lines() -> None:
    stream = io.StringIO()
    stream.close()
    listener = log.configure(stream)
    listener(DOWN)
    assert listener.dropped == 1
