"""What mon's alerts become: hooks that call the same scripts with the same words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, ExecCheck, Per
from lvs_healthd.config.hook_model import Hook, HookConvention
from lvs_healthd.config.hook_values import is_meant
from lvs_healthd.config.model import Config, Service
from lvs_healthd.hooks.facts import Facts, Told
from lvs_healthd.hooks.mon_convention import Alerts
from lvs_healthd.hooks.program import Call
from lvs_healthd.importers.mon.carrying import carried
from lvs_healthd.importers.mon.periods import When, when
from lvs_healthd.importers.source import Source
from lvs_healthd.probes.outcome import MonitorRun
from tests.hooks.doubles import down, up
from tests.importers.test_mon_carrying import LEFT_OUT, accepted, expected, made_of
from tests.importers.test_mon_lines import look_up
from tests.importers.test_mon_placing import WEB, run, told, watch

PAIR = (*WEB, "-a -t 203.0.113.1:80 -r 198.51.100.2:80 -m -w 1")
FOLDER = "/usr/lib/mon/alert.d"
FOLDERS = f"alertdir = {FOLDER}\nmondir = /usr/lib/mon/mon.d\n"
PROGRAM = "raid.monitor"
AT = 1_700_000_000


def one(hosts: str, *lines: str, monitor: str = PROGRAM, name: str = "web") -> str:
    """Return a hostgroup with one service. Its first own line is line 7."""
    return watch(hosts, *lines, monitor=monitor, name=name) + FOLDERS


def hook_of(*lines: str, hosts: str = "198.51.100.1", monitor: str = PROGRAM, table: tuple[str, ...] = WEB) -> Hook:
    """Return the only hook of a service with these lines."""
    (hook,) = run(one(hosts, *lines, monitor=monitor), *table)[0].hooks
    return hook


def remarks_of(*lines: str, hosts: str = "198.51.100.1", monitor: str = PROGRAM) -> list[str]:
    """Return what is told of a service with these lines. The first of them is line 7."""
    return run(one(hosts, *lines, monitor=monitor), *PAIR)[1]


def test_alert_and_upalert_with_the_same_words_become_one_hook() -> None:
    hook = hook_of("period", "alertevery 1h", "alert mail.alert ops@example.org", "upalert mail.alert ops@example.org")
    assert hook.command == (f"{FOLDER}/mail.alert", "ops@example.org")
    assert hook.convention is HookConvention.MON
    assert hook.on == ("real_server.down", "real_server.up")
    assert (hook.services, hook.servers) == (("web",), ("*",))
    assert (hook.per, hook.repeat, hook.most, hook.exit_status) == (Per.SERVER, Seconds(3600), 0, ())
    assert (hook.mon_group, hook.mon_service) == ("", "")


def test_without_alertevery_it_is_called_at_every_failure_which_is_told() -> None:
    lines = ("failure_interval 3s", "period", "numalerts 5", "alert mail.alert x", "upalert mail.alert x")
    hook = hook_of(*lines)
    assert (hook.repeat, hook.most) == (Seconds(3), 5)
    assert told(remarks_of(*lines), "mon calls it at every failure, so repeat is 3s") == [10]


def test_upalert_with_other_words_comes_after_any_alert_of_the_period() -> None:
    lines = (
        "period",
        "alertevery 1h",
        "alert exit=1-2 mail.alert a",
        "alert exit=4 mail.alert b",
        "upalert qpage.alert",
    )
    hooks = run(one("198.51.100.1", *lines), *WEB)[0].hooks
    assert [(hook.on, hook.exit_status, hook.command[1:]) for hook in hooks] == [
        (("real_server.down",), ((1, 2),), ("a",)),
        (("real_server.down",), ((4, 4),), ("b",)),
        (("real_server.up",), ((1, 2), (4, 4)), ()),
    ]
    assert [float(hook.repeat) for hook in hooks] == [3600, 3600, 0]


def test_upalert_of_one_of_several_alerts_is_a_hook_of_its_own() -> None:
    lines = (
        "period",
        "alertevery 1h",
        "alert exit=1 mail.alert a",
        "alert exit=2 mail.alert b",
        "upalert mail.alert a",
    )
    hooks = run(one("198.51.100.1", *lines), *WEB)[0].hooks
    assert [(hook.on, hook.exit_status) for hook in hooks] == [
        (("real_server.down",), ((1, 1),)),
        (("real_server.down",), ((2, 2),)),
        (("real_server.up",), ((1, 2),)),
    ]


def test_alertexitrange_counts_with_that_of_the_alert() -> None:
    hook = hook_of("period", "alertexitrange 2-9", "alertevery 1h", "alert exit=1-3 mail.alert", "upalert mail.alert")
    assert hook.exit_status == ((2, 3),)


def test_status_of_a_native_check_is_told() -> None:
    lines = ("period", "alertevery 1h", "alert exit=1 mail.alert a", "alert exit=2-9 mail.alert b")
    config, remarks = run(one("198.51.100.1", *lines, monitor="tcp.monitor -p 80"), *WEB)
    assert [hook.command[1:] for hook in config.hooks] == [("a",)]
    assert told(remarks, "a native check counts as exit status 1") == [9, 10]


def test_ipvs_alert_is_no_hook_but_counts_for_upalerts() -> None:
    ipvs = "ipvs.alert -P tcp -V 203.0.113.1:80 -R 198.51.100.1:80"
    lines = ("period", f"alert {ipvs}", f"upalert {ipvs} -W 1 -F nat -B -S wrr", "upalert mail.alert back")
    hook = hook_of(*lines)
    assert (hook.on, hook.command[1:]) == (("real_server.up",), ("back",))
    assert not [each for each in remarks_of(*lines) if "not carried over" in each and "nothing watches" not in each]


def test_script_that_is_not_known_must_not_call_ipvsadm_which_is_told() -> None:
    lines = ("period", "alertevery 1h", "alert lvs.alert", "upalert lvs.alert")
    assert hook_of(*lines).command[0].endswith("/lvs.alert")
    remarks = remarks_of(*lines)
    assert told(remarks, "it must not call ipvsadm") == [9, 10]
    assert not any("not carried over" in each for each in remarks)


def test_script_that_calls_ipvsadm_is_no_hook(tmp_path: Any) -> None:
    script = tmp_path / "test.alert"
    script.write_text("#!/bin/sh\nipvsadm -d -t 203.0.113.1:80 -r $6:80\n")
    script.chmod(0o755)
    text = f"alertdir = {tmp_path}\n\n" + watch("198.51.100.1", "period", "alert test.alert", "upalert test.alert")
    config, remarks = run(text, *WEB)
    assert config.hooks == ()
    assert told(remarks, "calls ipvsadm") == [10, 11]


def test_one_host_of_a_service_of_several_is_named_by_its_server() -> None:
    lines = ("period", "alertevery 1h", "alert lvs.alert", "upalert lvs.alert")
    text = watch("198.51.100.1", *lines, name="one") + watch("198.51.100.2", *lines, name="two") + FOLDERS
    config, remarks = run(text, *PAIR)
    assert [(hook.services, hook.servers, hook.per, hook.mon_group) for hook in config.hooks] == [
        (("203.0.113.1:80/tcp",), ("198.51.100.1:80",), "server", "one"),
        (("203.0.113.1:80/tcp",), ("198.51.100.2:80",), "server", "two"),
    ]
    assert not any("not carried over" in each and "alert" in each for each in remarks)


def test_group_of_several_hosts_is_told_together() -> None:
    lines = ("period", "alertevery 1h", "alert mail.alert", "upalert mail.alert")
    hook = hook_of(*lines, hosts="198.51.100.1 198.51.100.2", table=PAIR)
    assert (hook.per, hook.servers) == ("group", ("*",))


def test_part_of_the_servers_is_told_with_the_names_of_all_which_is_told() -> None:
    three = (*PAIR, "-a -t 203.0.113.1:80 -r 198.51.100.3:80 -m -w 1")
    lines = ("period", "alertevery 1h", "alert lvs.alert", "upalert lvs.alert")
    config, remarks = run(one("198.51.100.1 198.51.100.2", *lines), *three)
    (hook,) = config.hooks
    assert hook.per == "group"
    assert told(remarks, "-h names") == []  # the third server is left to others, and so is not the service's
    text = watch("198.51.100.1 198.51.100.2", *lines) + watch("198.51.100.3", "period", "alert x.alert", name="three")
    config, remarks = run(text, *three)
    assert config.hooks[0].servers == ("198.51.100.1:80", "198.51.100.2:80")
    assert told(remarks, "-h names 198.51.100.1 198.51.100.2 198.51.100.3") == [9]


def test_variables_of_the_service_reach_the_script() -> None:
    lines = ("LEVEL=high", "description Web shop", "period", "alertevery 1h", "alert mail.alert", "upalert mail.alert")
    hook = hook_of(*lines, monitor="tcp.monitor -p 80")
    assert dict(hook.environment) == {"LEVEL": "high", "MON_DESCRIPTION": "Web shop"}
    assert not [each for each in remarks_of(*lines, monitor="tcp.monitor -p 80") if each.startswith("7:")]


def test_periods_that_are_not_always_are_not_carried_over() -> None:
    config, remarks = run(watch("198.51.100.1", "period wd {Sat-Sun}", "alert mail.alert", "upalert mail.alert"), *WEB)
    assert config.hooks == ()
    assert told(remarks, "not carried over: hooks have no periods") == [8, 9]


def test_hook_is_for_its_own_checks_if_others_watch_the_same_servers() -> None:
    text = watch("198.51.100.1", "period", "alertevery 1h", "alert lvs.alert", "upalert lvs.alert")
    text += "service other\ninterval 10s\nmonitor raid.monitor\nperiod\nalert lvs.alert b\nupalert lvs.alert b\n"
    text = text.replace("\n\nservice other", "\nservice other")
    config, remarks = run(text, *WEB)
    assert [hook.command[1:] for hook in config.hooks] == [(), ("b",)]
    assert [hook.checks for hook in config.hooks] == [("main",), ("other",)]
    assert told(remarks, "not called for it while other keeps it out") == [9]
    assert told(remarks, "not called for it while main keeps it out") == [15]


def test_same_lines_of_two_services_become_one_hook() -> None:
    lines = ("period", "alertevery 1h", "alert lvs.alert", "upalert lvs.alert")
    text = watch("198.51.100.1", *lines).rstrip("\n")
    text += "\nservice other\ninterval 10s\nmonitor raid.monitor\n" + "\n".join(lines) + "\n"
    config, remarks = run(text, *WEB)
    assert [hook.checks for hook in config.hooks] == [("*",)]
    assert not any("not called for it" in each for each in remarks)


def test_period_that_only_tells_is_told_with_the_verdict() -> None:
    lines = ("period A:", "alertafter 3", "alert lvs.alert", "upalert lvs.alert", "period B:", "alert mail.alert")
    assert told(remarks_of(*lines), "in mon at failure 1, here with the verdict, at failure 3") == [11]


@pytest.mark.parametrize(
    ("line", "text", "is_lost"),
    [
        ("alertevery 1h strict", "also within that time", True),
        ("alertevery 1h observe_detail", "a change of the output", True),
        ("alertevery 30d", "the longest repeat is 7d", True),
        ("no_comp_alerts", "there is no upalert", False),
        ("alerts_dont_count", "mon's own displays", False),
    ],
)
def test_keys_of_periods_that_are_told(line: str, text: str, *, is_lost: bool) -> None:
    remarks = remarks_of("period", line, "alert mail.alert")
    assert told(remarks, text) == [8]
    assert any(each.startswith("8: not carried over") for each in remarks) is is_lost


def test_upalert_without_an_alert_is_as_in_mon_only_if_the_first_failure_counts() -> None:
    lines = ("alert exit=3 mail.alert a", "upalert mail.alert b", "no_comp_alerts")
    assert not [each for each in remarks_of("period", "alertevery 1h", *lines) if each.startswith("11:")]
    remarks = remarks_of("period", "alertafter 2", *lines)
    assert told(remarks, "mon calls upalert also after fewer failures") == [11]


def wanted(name: str, group: str, service: str, status: int) -> list[tuple[str, ...]]:
    """Return the calls of scripts that mon makes for a failure and its end."""
    calls = []
    for period in expected(name)["watch"][group][service]["periods"].values():
        if when(period["when"]) is not When.ALWAYS:
            continue
        alerts = [each for each in period.get("alerts", ()) if has(each["exit_range"], status)]
        ups = period.get("upalerts", ()) if alerts or "no_comp_alerts" in period else ()
        both = [*alerts, *(each for each in ups if not each["exit_range"])]
        calls += [(each["script"], *each["argv"]) for each in both if each["script"] != "ipvs.alert"]
    return sorted(calls)


def has(given: str | None, status: int) -> bool:
    """Return whether a range has a status."""
    first, _, last = (given or "1-255").partition("-")
    return int(first) <= status <= int(last or first)


def called(config: Config, check: str, service: Service, status: int | None) -> Iterator[tuple[str, ...]]:
    """Yield the calls of scripts that the hooks make when all servers with a check fail and come back."""
    servers = [each for each in service.real_servers if any(other.name == check for other in each.checks)]
    run = None
    if status is not None:
        run = MonitorRun(status=status, output="x\n", before=None, first_failure=AT, last_failure=AT, last_success=0)

    def lookup(_: str, server: str, __: str) -> Facts:
        return Facts(service, next(each for each in servers if str(each.endpoint) == server), run)

    for hook in config.hooks:
        alerts = Alerts(hook, lookup, lambda: 0.0, lambda: AT)
        for make in (down, up):
            for server in servers:
                event = make(service=service.name, server=str(server.endpoint), check=check)
                if alerts.wants(event, in_shadow=False):
                    for message in alerts.messages(Told(event, AT)):
                        call = message.made()
                        assert isinstance(call, Call)
                        program, *words = call.argv
                        yield (program.rpartition("/")[2], *("TIME" if each == str(AT) else each for each in words))


def check_of(config: Config, name: str) -> AnyCheck:
    """Return a check by its name."""
    servers = [server for service in config.services for server in service.real_servers]
    return next(each for server in servers for each in server.checks if each.name == name)


TOLD_OTHERWISE = {
    "depends-and-excludes": "-h names 198.51.100.81, where mon names all hosts",
    "names-and-disabled-hosts": "-h has addresses",
}
"""Files whose hooks are not called as by mon, with what is told then."""


@pytest.mark.parametrize("name", accepted())
def test_hooks_call_what_mon_calls(name: str) -> None:
    found, config = made_of(name)
    differences = [each for service in config.services for each in different(name, config, service)]
    text = TOLD_OTHERWISE.get(name)
    assert bool(differences) == bool(text), differences
    assert text is None or any(f"not carried over: {text}" in each or text in each for each in found.account.remarks())
    assert text is None or not found.account.is_lossless


def different(name: str, config: Config, service: Service) -> Iterator[tuple[str, int]]:
    """Yield the checks and exit statuses for which the hooks do not call what mon calls."""
    for check in sorted({each.name for server in service.real_servers for each in server.checks}):
        is_native = not isinstance(check_of(config, check), ExecCheck)
        groups = [
            group
            for group, services in expected(name)["watch"].items()
            if check in services and (name, group, check) not in LEFT_OUT
        ]
        for status in (1,) if is_native else (1, 2):
            want = sorted(call for group in groups for call in wanted(name, group, check, status))
            made = sorted(called(config, check, service, None if is_native else status))
            # A native check tells of each server by itself.
            if (sorted(set(made)) if is_native else made) != want:
                yield check, status


def test_servers_of_a_service_without_an_address_are_named_with_any_port() -> None:
    lines = ("period", "alertevery 1h", "alert lvs.alert", "upalert lvs.alert")
    text = one("198.51.100.1 2001:db8::2 198.51.100.3", "exclude_hosts 198.51.100.3", *lines).replace(FOLDERS, "")
    text = text.rstrip("\n") + "\nservice other\ninterval 10s\nmonitor raid.monitor\nperiod\nalert lvs.alert b\n"
    found = carried(Source("mon.cf", text, Path("/")), look_up)
    hooks = [each for each in tomli.loads(found.text)["hook"] if each["command"][1:] == []]
    assert [each["servers"] for each in hooks] == [["198.51.100.1:*", "[2001:db8::2]:*"]]
    assert is_meant("[2001:db8::2]:80", hooks[0]["servers"][1])
