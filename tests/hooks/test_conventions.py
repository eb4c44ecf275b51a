"""What a hook is told in JSON, and in keepalived's ways; and of which events it is told."""

import os
from typing import Any

import msgspec
import pytest

from lvs_healthd.events.kinds import (
    BrakeOn,
    ConfigRejected,
    Event,
    OverrideSet,
    RealServerDownAnyway,
    ServiceBelow,
    ServiceEnough,
    ServiceFallback,
    ServiceServing,
    TableChanged,
)
from lvs_healthd.hooks import json_convention
from lvs_healthd.hooks.conventions import convention_of
from lvs_healthd.hooks.digest import Gathered
from lvs_healthd.hooks.facts import Told
from lvs_healthd.hooks.letter import LONGEST_SUBJECT, letter
from lvs_healthd.hooks.program import Call
from tests.hooks.doubles import WALL, Clock, Known, down, read, up

CACHE = "[2001:db8::11]:11211"
SILENT = BrakeOn(way="eth1", silent=9, targets=10, cause="no carrier")
BELOW = ServiceBelow(service="web", able=1, min_up=2, is_weight=False, action="none")
ENOUGH = ServiceEnough(service="web", able=2, min_up=2, is_weight=False)
EMPTY = ServiceFallback(service="web", fallback=())
SERVING = ServiceServing(service="web", servers=1)
REJECTED = ConfigRejected(file="/etc/x.toml", errors=("bad", "worse"))


class Hook:
    def __init__(self, keys: str) -> None:
        config = read(f"[[hook]]\n{keys}")
        self.hook = config.hooks[0]
        self.convention = convention_of(self.hook, Known(config), Clock(), Clock().wall)

    def wants(self, event: Event, *, in_shadow: bool = False) -> bool:
        return event.name in self.convention.names and self.convention.wants(event, in_shadow=in_shadow)

    def __call__(self, event: Event) -> Any:
        """Return what is told of an event; None for nothing."""
        if not self.wants(event):
            return None
        made = [each.made() for each in self.convention.messages(Told(event, WALL))]
        assert len(made) <= 1
        return made[0] if made else None


def test_event_is_one_line_of_json_with_the_fields_of_the_log() -> None:
    call = Hook('command = ["/bin/x", "a b"]\nenvironment = { TEAM = "blue" }')(down(after_s=9.12345))
    assert isinstance(call, Call)
    assert call.argv == ("/bin/x", "a b")
    assert call.told.endswith("}\n")
    assert msgspec.json.decode(call.told) == {
        "timestamp": "2023-11-14T22:13:20.000Z",
        "level": "warning",
        "event": "real_server.down",
        "host": os.uname().nodename,
        "service": "web",
        "server": "198.51.100.11:80",
        "check": "http",
        "reason": "connection refused",
        "failures": 3,
        "fall": 3,
        "was": "up",
        "after_s": 9.123,
    }
    assert call.variables == {
        "LVS_EVENT": "real_server.down",
        "LVS_SERVICE": "web",
        "LVS_SERVER": "198.51.100.11:80",
        "LVS_REASON": "connection refused",
        "LVS_VIP": "192.0.2.100",
        "LVS_VPORT": "80",
        "LVS_PROTO": "tcp",
        "LVS_RIP": "198.51.100.11",
        "LVS_RPORT": "80",
        "LVS_FWD": "nat",
        "LVS_WEIGHT": "1",
        "TEAM": "blue",
    }


def test_name_that_is_no_unicode_text_is_told_all_the_same() -> None:
    odd = os.fsdecode(b"/etc/\xff")
    call = Hook('command = ["/bin/x"]\non = ["config.*"]')(ConfigRejected(file=odd, errors=(odd,)))
    found = msgspec.json.decode(call.told)
    assert (found["file"], found["errors"]) == ("/etc/\\udcff", ["/etc/\\udcff"])
    reason = Hook('command = ["/bin/x"]')(down(reason=odd)).variables["LVS_REASON"]
    assert reason == "/etc/\\udcff"
    assert "/etc/\\udcff" in mail(down(reason=odd)).get_content()


@pytest.mark.parametrize("convention", ["json", "keepalived", "mon"])
@pytest.mark.parametrize("on", ["", 'on = ["real_server.up"]'])
def test_hook_of_some_checks_is_told_that_a_server_is_up_if_one_of_them_had_failed(convention: str, on: str) -> None:
    """Whichever check passes last."""
    hook = Hook(f'command = ["/bin/x"]\nconvention = "{convention}"\nchecks = ["http"]\n{on}')

    def told(*events: Event) -> list[bool]:
        return [hook(event) is not None for event in events]

    is_told_of_down = not on
    first = "198.51.100.11:80"
    assert told(down(first, check="http"), up(first, check="tcp")) == [is_told_of_down, True]
    assert told(down(first, check="tcp"), up(first, check="http")) == [False, False]
    # One server after another, and both at once.
    second = "198.51.100.12:80"
    assert told(down(first, check="http"), down(second, check="tcp")) == [is_told_of_down, False]
    assert told(up(second, check="http"), up(first, check="tcp")) == [False, True]
    # After a restart nobody knows which check had failed.
    assert told(up(first, check="http"), up(first, check="tcp")) == [True, False]
    # A service that is gone is forgotten.
    assert told(down(first, check="tcp")) == [False]
    hook.convention.keep(frozenset({"cache"}))
    assert told(up(first, check="http")) == [True]


def test_event_about_no_service_is_told_too() -> None:
    call = Hook('command = ["/bin/x"]\non = ["config.*"]')(REJECTED)
    assert msgspec.json.decode(call.told)["errors"] == ["bad", "worse"]
    assert call.variables == {"LVS_EVENT": "config.rejected"}


@pytest.mark.parametrize(
    ("keys", "event", "is_told"),
    [
        ("", down(), True),
        ("", SILENT, True),
        ("", EMPTY, True),
        ("", REJECTED, False),
        ('on = ["*"]', REJECTED, True),
        ('on = ["real_server.d*"]', up(), False),
        ('services = ["web"]', down(), True),
        ('services = ["ca*", "w?b"]', down(), True),
        ('services = ["WEB"]', down(), False),
        ('services = ["web"]', SILENT, False),
        ('servers = ["198.51.100.1[12]:80"]', down(), True),
        ('servers = ["198.51.100.1[12]:80"]', down("198.51.100.13:80"), False),
        ('servers = ["[2001:db8::11]:*"]', down(CACHE, service="cache"), True),
        ('servers = ["[2001:db8::11]:11211"]', down(CACHE, service="cache"), True),
        ('servers = ["[2001:db8::11]:*"]', down(), False),
        ('servers = ["198.51.100.*"]', EMPTY, False),
        ('checks = ["http"]', down(), True),
        ('checks = ["ht*", "tcp"]', down(), True),
        ('checks = ["tcp"]', down(), False),
        ('checks = ["http"]', EMPTY, False),
    ],
)
def test_hook_is_told_of_its_events_services_and_servers(keys: str, event: Event, is_told: bool) -> None:
    assert Hook(f'url = "http://192.0.2.1/"\n{keys}').wants(event) is is_told


def test_order_about_all_services_is_about_each() -> None:
    order = OverrideSet(kind="drain", service="*", server="198.51.100.11:80", reason="", uid=0, until="")
    assert Hook('url = "http://192.0.2.1/"\non = ["override.*"]\nservices = ["web"]').wants(order)


@pytest.mark.parametrize(("keys", "is_told"), [("", False), ("in_shadow = true\n", True)])
def test_what_is_only_decided_is_not_told_unless_asked(keys: str, is_told: bool) -> None:
    hook = Hook(f'url = "http://192.0.2.1/"\non = ["*"]\n{keys}')
    written = TableChanged(operation="add_server", service="web", server="x", reason="", fields="", shadow=True)
    assert hook.wants(written) is is_told
    assert hook.wants(down(), in_shadow=True) is is_told
    assert hook.wants(down())


@pytest.mark.parametrize("keys", ['url = "http://192.0.2.1/"', 'fifo = "/run/x"'])
def test_server_that_operators_have_taken_out_alarms_nobody(keys: str) -> None:
    quiet = RealServerDownAnyway(**msgspec.structs.asdict(down()))
    assert not Hook(keys).wants(quiet)


def test_events_that_are_too_large_together_are_counted() -> None:
    reason = "x" * 1000
    events = tuple(Told(down(reason=reason), WALL) for _ in range(1000))
    text = json_convention.of_many(Gathered(events, {"real_server.down": 1000}))
    message = msgspec.json.decode(text)
    assert len(text) < json_convention.MOST_BYTES + 1000
    assert 100 < len(message["events"]) < 300
    assert len(message["events"]) + message["left_out"] == message["total"] == 1000


# ---- Mail ------------------------------------------------------------------------------------------------------------


def mail(*events: Event) -> Any:
    config = read('[[hook]]\nmail = { to = ["a@example.org", "b@example.org"], from = "lvs@example.org" }')
    assert config.hooks[0].mail is not None
    counts: dict[str, int] = {}
    for event in events:
        counts[event.name] = counts.get(event.name, 0) + 1
    return letter(config.hooks[0].mail, Gathered(tuple(Told(event, WALL) for event in events), counts))


def test_mail_about_one_event_has_it_in_its_subject() -> None:
    written = mail(down(reason="status 500\r\nBcc: everybody@example.org"))
    subject = (
        f"[{os.uname().nodename}] real_server.down web 198.51.100.11:80: status 500\\r\\nBcc: everybody@example.org"
    )
    assert written["Subject"] == subject
    assert (written["From"], written["To"], written["Bcc"]) == ("lvs@example.org", "a@example.org, b@example.org", None)
    assert (written["Date"], written["Auto-Submitted"]) == ("Tue, 14 Nov 2023 22:13:20 -0000", "auto-generated")
    assert "\\r\\nBcc" in written.get_content()
    assert (
        "2023-11-14T22:13:20Z warning real_server.down  service=web  server=198.51.100.11:80" in written.get_content()
    )


def test_mail_about_many_counts_them_and_is_bounded() -> None:
    written = mail(*[down(reason="y" * 2000)] * 900, up())
    assert written["Subject"].endswith("900 real_server.down, 1 real_server.up")
    assert len(written["Subject"]) <= LONGEST_SUBJECT
    text = written.get_content()
    assert len(text) < 300_000
    assert "more: journalctl -u lvs-healthd" in text


# ---- keepalived ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (down(), b"RS [198.51.100.11]:tcp:80 [192.0.2.100]:tcp:80 DOWN\n"),
        (up(), b"RS [198.51.100.11]:tcp:80 [192.0.2.100]:tcp:80 UP\n"),
        (up(was="unknown"), None),
        (down(was="unknown"), b"RS [198.51.100.11]:tcp:80 [192.0.2.100]:tcp:80 DOWN\n"),
        (down(CACHE, service="cache"), b"RS [2001:db8::11]:tcp:11211 [2001:db8::1]:tcp:11211 DOWN\n"),
        (down("198.51.100.21:0", service="marked"), b"RS [198.51.100.21]:none:0 FWM 7 DOWN\n"),
        (EMPTY, b"VS [192.0.2.100]:tcp:80 DOWN\n"),
        (SERVING, b"VS [192.0.2.100]:tcp:80 UP\n"),
        (SILENT, None),
    ],
)
def test_fifo_has_keepalived_s_lines(event: Event, line: bytes | None) -> None:
    assert Hook('fifo = "/run/x"')(event) == line


def test_service_is_up_for_keepalived_only_with_a_quorum() -> None:
    hook = Hook('fifo = "/run/x"')
    said = [hook(event) for event in (BELOW, EMPTY, SERVING, ENOUGH, EMPTY, BELOW, ENOUGH, SERVING)]
    down_, up_ = b"VS [192.0.2.100]:tcp:80 DOWN\n", b"VS [192.0.2.100]:tcp:80 UP\n"
    assert said == [down_, None, None, up_, down_, None, None, up_]


def test_quorum_script_hears_only_of_its_own_direction_however_it_comes() -> None:
    hook = Hook('command = ["/bin/q"]\nconvention = "keepalived"\non = ["service.enough", "service.serving"]')
    said = [hook(event) is not None for event in (down(), BELOW, EMPTY, SERVING, ENOUGH)]
    assert said == [False, False, False, False, True]


def test_notify_script_gets_neither_arguments_nor_input() -> None:
    call = Hook('command = ["/bin/notify", "x y"]\nconvention = "keepalived"\non = ["real_server.down"]')(down())
    assert (call.argv, call.told) == (("/bin/notify", "x y"), "")
    assert call.variables["LVS_RIP"] == "198.51.100.11"


def test_fifo_may_have_json_instead() -> None:
    line = Hook('fifo = "/run/x"\nconvention = "json"')(down())
    assert line.endswith(b"}\n")
    assert msgspec.json.decode(line)["event"] == "real_server.down"
