"""drain, disable, enable and weight as an operator types them, against a real control socket."""

import datetime as dt
import json
import time
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.cli import ordering
from lvs_healthd.cli.asking import RunningDaemon
from lvs_healthd.view.override_values import OverriddenServer, OverrideOutcome, OverrideValues
from lvs_healthd.view.table_values import Listing
from tests.cli.conftest import Daemon
from tests.cli.running import Run
from tests.statuses import NOW, STATISTICS, listed_server, listed_service
from tests.statuses import daemon as daemon_status

SERVER = OverriddenServer(
    service="web", server="198.51.100.11:80", verdict="up", state="drained", weight=3, was_changed=True
)


def run_of(verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setattr(time, "time", lambda: NOW)
    return Run(verb, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["drain", "web", "198.51.100.11"], "drain web 198.51.100.11"),
        (["drain", "web"], "drain web"),
        (["drain", "--everywhere", "198.51.100.11", "--force"], "drain --everywhere 198.51.100.11 --force"),
        (["disable", "web", "a b", "c&d=e"], "disable web a b c&d=e"),
        (["enable", "web", "198.51.100.11"], "enable web 198.51.100.11"),
        (["weight", "web", "198.51.100.11", "12"], "weight web 198.51.100.11 12"),
        (["weight", "web", "auto"], "weight web auto"),
        (["weight", "--everywhere", "198.51.100.11", "0"], "weight --everywhere 198.51.100.11 0"),
    ],
)
def test_order_arrives_as_it_was_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], daemon: Daemon, words: list[str], asked: str
) -> None:
    verb, *rest = words
    ran = run_of(verb, monkeypatch, capsys)(*rest, "--control", str(daemon.control))
    assert (ran.code, ran.err) == (0, "")
    assert [request for request, _ in daemon.asked] == [asked]


def test_outcome_and_advice_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], daemon: Daemon
) -> None:
    up = msgspec.structs.replace(SERVER, state="", server="198.51.100.12:80", was_changed=False)
    down = msgspec.structs.replace(SERVER, state="", server="198.51.100.13:80", verdict="down")
    daemon.ordered = OverrideOutcome(servers=(SERVER, up, down), advice=("web: clients stay",))
    ran = run_of("drain", monkeypatch, capsys)("web", "--control", str(daemon.control))
    assert ran.out.splitlines() == [
        "web 198.51.100.11:80: drained",
        "web 198.51.100.12:80: serves with weight 3 (as before)",
        "web 198.51.100.13:80: down; weight 3 once it is up",
    ]
    assert ran.err == "lvs-healthd drain: web: clients stay\n"
    ran = run_of("drain", monkeypatch, capsys)("web", "--json", "--control", str(daemon.control))
    assert json.loads(ran.out)["servers"][0]["state"] == "drained"


@pytest.mark.parametrize(("is_usage", "code"), [(False, 1), (True, 2)])
def test_refusal_is_told_with_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], daemon: Daemon, is_usage: bool, code: int
) -> None:
    daemon.ordered = OverrideOutcome(refused="because", is_usage=is_usage)
    ran = run_of("disable", monkeypatch, capsys)("web", "--control", str(daemon.control))
    assert (ran.code, ran.out, ran.err) == (code, "", "lvs-healthd disable: because\n")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["drain"], "which servers? name a service, or a machine with --everywhere"),
        (["drain", "web", "--everywhere", "198.51.100.1"], "which servers? name a service, or a machine with"),
        (["drain", "web", "--for", "2"], "--for: expected a duration from 1s to 3650d"),
        (["drain", "web", "--for", "2h", "--until", "18:30"], "--for and --until are two ways to say the same"),
        (["drain", "web", "--until", "soon"], '--until: expected a time such as "18:30" or "2026-12-24 18:30", got'),
        (["drain", "web", "--until", "2001-01-01 18:30"], "--until: 2001-01-01 18:30 is over already"),
        (["drain", "web", "--deadline", "soon"], "--deadline: expected a duration"),
        (["weight", "web", "heavy"], 'the last word is the weight, a number or "auto", not "heavy"'),
    ],
)
def test_wrong_usage_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], daemon: Daemon, words: list[str], error: str
) -> None:
    verb, *rest = words
    ran = run_of(verb, monkeypatch, capsys)(*rest, "--control", str(daemon.control))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"lvs-healthd {verb}: {error}")
    assert daemon.asked == []


def test_times_are_told_to_the_daemon_in_unix_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], daemon: Daemon
) -> None:
    asked: list[str] = []

    def post(_: RunningDaemon, path: str, *, timeout_s: float) -> bytes:
        assert timeout_s > 0
        asked.append(path)
        return b"{}"

    monkeypatch.setattr(RunningDaemon, "post", post)
    run_of("drain", monkeypatch, capsys)(
        *("web", "--for", "2h", "--deadline", "10m", "--reason", "a & b", "--control", str(daemon.control))
    )
    assert asked == [f"/api/v1/overrides?verb=drain&service=web&reason=a+%26+b&until={NOW + 7200}&deadline={NOW + 600}"]


def test_without_a_daemon_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ran = run_of("enable", monkeypatch, capsys)("web", "--control", str(tmp_path / "no.sock"))
    assert (ran.code, ran.out) == (4, "")


def test_status_lists_what_is_in_force(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], daemon: Daemon
) -> None:
    run = run_of("status", monkeypatch, capsys)
    ran = run("--overrides", "--control", str(daemon.control))
    assert (ran.code, ran.out, ran.err) == (0, "", "lvs-healthd status: operators have ordered nothing\n")
    daemon.overrides = (
        OverrideValues(
            kind="drain",
            service="web",
            server="198.51.100.11:80",
            reason="disk",
            uid=0,
            since=NOW - 60,
            until=NOW + 7200,
        ),
        OverrideValues(kind="weight", service="*", server="198.51.100.12", weight=7, uid=1000, since=NOW - 7200),
        OverrideValues(
            kind="disable", service="192.0.2.1:80/tcp", server="198.51.100.13:80", uid=0, since=NOW, is_configured=False
        ),
        OverrideValues(
            kind="maintenance", service="*", server="198.51.100.14", uid=-1, since=NOW - 60, file="/m/198.51.100.14"
        ),
        OverrideValues(
            kind="maintenance",
            service="*",
            server="db1",
            reason="its name cannot be resolved",
            uid=-1,
            since=NOW - 60,
            is_configured=False,
            file="/m/db1",
        ),
    )
    ran = run("--overrides", "--control", str(daemon.control))
    assert ran.out.splitlines() == [
        "web               198.51.100.11:80  drain        1m ago  uid 0     disk; ends in 2h",
        "*                 198.51.100.12     weight 7     2h ago  uid 1000  -",
        "192.0.2.1:80/tcp  198.51.100.13:80  disable      0s ago  uid 0     not configured now",
        "*                 198.51.100.14     maintenance  1m ago  file      /m/198.51.100.14",
        "*                 db1               maintenance  1m ago  file      /m/db1; its name cannot be resolved",
    ]


def test_time_of_tomorrow_is_meant_by_tomorrow_s_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Berlin, the clocks go back by an hour in the night before 25 October 2026."""

    class Evening(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "Evening":
            return cls(2026, 10, 24, 20, 0, tzinfo=tz)

    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Berlin")
        time.tzset()
        patched.setattr(dt, "datetime", Evening)
        ends = ordering.end_of("drain", "", "18:30")
    time.tzset()
    assert ends == dt.datetime(2026, 10, 25, 17, 30, tzinfo=dt.UTC).timestamp()


IDLE = msgspec.structs.replace(STATISTICS, active_connections=0, inactive_connections=0, persistent_connections=0)


@pytest.mark.parametrize(
    ("weights", "code", "out", "err"),
    [
        ([(3, 3), (3, 0), (0, 0), None], 0, "out of the table after 0s", ""),
        ([(3, 0), (0, 0), (0, 3)], 1, "", "web 198.51.100.11:80 is not drained any more"),
    ],
)
def test_wait_ends_when_the_server_has_left_or_is_put_back(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    daemon: Daemon,
    weights: list[tuple[int, int] | None],
    code: int,
    out: str,
    err: str,
) -> None:
    """A server without connections may get new ones until it is at weight 0, which a hold may delay."""
    steps = iter(weights)

    def get(_: RunningDaemon, path: str) -> bytes:
        assert path == "/api/v1/table"
        step = next(steps)
        servers = () if step is None else (listed_server(SERVER.server, weights=step, statistics=IDLE),)
        services = (listed_service("web", "192.0.2.100:80/tcp", *servers),)
        return msgspec.json.encode(Listing(daemon=daemon_status(), services=services))

    monkeypatch.setattr(RunningDaemon, "get", get)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    daemon.ordered = OverrideOutcome(servers=(SERVER,))
    ran = run_of("drain", monkeypatch, capsys)("web", "--wait", "--control", str(daemon.control))
    assert ran.code == code
    assert out in ran.out
    assert "; 1 not at weight 0 yet" in ran.out
    assert err in ran.err
    assert list(steps) == []
