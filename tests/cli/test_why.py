"""`lvs-healthd why` as an operator runs it, against a real control socket."""

import json
import time

import msgspec
import pytest

from lvs_healthd.view.why_values import DampingWhy, KernelWhy, PlanWhy, Why
from lvs_healthd.view.why_words import lines
from tests import statuses
from tests.cli.conftest import Daemon
from tests.cli.running import Run
from tests.statuses import NOW


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "localtime", time.gmtime)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run("why", monkeypatch, capsys)


def test_answer_tells_each_layer_from_the_checks_to_the_kernel_and_then_the_past(run: Run, daemon: Daemon) -> None:
    ran = run("web", "198.51.100.11:80", "--control", str(daemon.control))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        HEAD,
        *CHECKS,
        "  verdict: up, since 2023-11-13 21:13:20 (1d)",
        "  orders: weight 3 by uid 0: new disks, since 21:13:20 (1h), until 23:13:20",
        "  damping: it flaps, since 22:03:20 (10m): it fell 4 times within 10m; its service does not hold it out",
        "  writing: the service is held by uid 0: look first, since 22:12:20 (1m) -> lvs-healthd release web",
        f"  configuration: of 2023-11-13 21:13:20; {REJECTED}",
        "  plan: weight 3: status 200",
        "  kernel: not in the table, read 22:13:18; NOT as planned, add is due: lvs-healthd release web",
        "  history, the newest first:",
        "    22:12:20  the service is held by uid 0: look first",
        "    2023-11-13 21:13:20  up, was down: http: status 200",
    ]


REJECTED = (
    "the last reload was rejected: x.toml:3: weight -> correct what `lvs-healthd validate` finds, then "
    "`lvs-healthd reload`"
)
HEAD = "web 198.51.100.11:80 is up, since 2023-11-13 21:13:20 (1d): status 503, expected 200-299"
CHECKS = [
    "  check http of 198.51.100.11:80, every 2s (now 500ms), timeout 1s: up, 2 of 3 failures that take it down",
    "    last probe 22:13:17, 12.3 ms: connected after 0.4 ms, first byte after 12.0 ms",
    '    the last one that did not pass heard "HTTP/1.1 503 \\x0d\\x0a"',
    "    22:13:13 to 22:13:17  down 3 times: status 503, expected 200-299",
    "    2023-11-13 21:13:20 to 22:13:11  up 256 or more times: status 200",
    "    2023-11-13 20:56:40  down: no answer in 1s",
    "  check port (tcp) of 198.51.100.11:81, every 2s, timeout 1s: unknown, 1 of 2 passes that bring it up",
    "    not probed yet",
]


def test_answer_of_an_old_daemon_is_shown_as_far_as_it_goes() -> None:
    answer = json.loads(msgspec.json.encode(statuses.why()))
    for later in ("layers", "history", "is_fallback"):
        del answer["servers"][0][later]
    found = list(lines(msgspec.json.decode(json.dumps(answer), type=Why)))
    assert found[1] == "  weight: configured 3, wanted 3, in the kernel's table none"
    assert found[2].startswith("  check http of 198.51.100.11:80, every 2s (now 500ms)")
    assert len(found) == 2 + len(CHECKS)


def drawn(**changes: object) -> list[str]:
    """Return the lines of an answer with other layers."""
    (server,) = statuses.why().servers
    assert server.layers is not None
    changed = msgspec.structs.replace(server.layers, **changes)
    return list(lines(Why(now=statuses.NOW, servers=(msgspec.structs.replace(server, layers=changed, history=()),))))


def test_layers_without_anything_special_say_so() -> None:
    found = drawn(
        orders=(),
        damping=DampingWhy(),
        kept_back=(),
        plan=PlanWhy(weight=5, reason="it is up", service="x"),
        kernel=KernelWhy(weight=5, read=statuses.NOW - 1),
    )
    assert found[-6:] == [
        "  orders: none",
        "  damping: it does not flap",
        "  writing: nothing keeps it back",
        "  plan: weight 5 (configured 3): it is up; x",
        "  kernel: weight 5, read 22:13:19; as planned",
        "  history: nothing has happened to it",
    ]


def test_server_that_is_held_out_says_until_when() -> None:
    damping = DampingWhy(flaps_since=statuses.NOW - 60, held_until=statuses.NOW + 90_000, reason="fell", is_damped=True)
    assert (
        "  damping: held out until 2023-11-15 23:13:20 if it stays steady; it flaps, since 22:12:20 (1m): fell"
        in drawn(damping=damping)
    )


def test_json_is_the_daemons_answer(run: Run, daemon: Daemon) -> None:
    ran = run("web", "198.51.100.11:80", "--json", "--control", str(daemon.control))
    answer = json.loads(ran.out)
    assert (answer["now"], answer["servers"][0]["checks"][0]["streaks"][0]["reason"]) == (NOW, "timeout")


def test_unknown_server_is_wrong_usage(run: Run, daemon: Daemon) -> None:
    ran = run("web", "198.51.100.12", "--control", str(daemon.control))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == 'lvs-healthd why: no real server of "web" has the address 198.51.100.12\n'


def test_without_a_daemon_it_says_so(run: Run, daemon: Daemon) -> None:
    ran = run("web", "198.51.100.12", "--control", str(daemon.control.with_name("no.sock")))
    assert (ran.code, ran.out) == (4, "")
