"""Which virtual service a watch belongs to, and what is asked where nothing says it."""

from pathlib import Path

import pytest

from lvs_healthd.config.check_model import ExecCheck, HttpCheck
from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config, ForeignServers
from lvs_healthd.importers.account import RefusedError
from lvs_healthd.importers.ipvsadm import table_of
from lvs_healthd.importers.mon.carrying import imported
from lvs_healthd.importers.source import Source
from tests.importers.test_mon_lines import look_up

WEB = ("-A -t 203.0.113.1:80 -s wrr", "-a -t 203.0.113.1:80 -r 198.51.100.1:80 -m -w 1")
IPVS = "ipvs.alert -P tcp -V 203.0.113.1:80 -R 198.51.100.1:80"
SCRIPT = ("period", "alert lvs.alert", "upalert lvs.alert")


def watch(hosts: str, *lines: str, name: str = "web", monitor: str = "tcp.monitor -p 80") -> str:
    """Return a hostgroup with one service."""
    return "\n".join(
        (
            f"hostgroup {name} {hosts}",
            "",
            f"watch {name}",
            "service main",
            "interval 10s",
            f"monitor {monitor}",
            *lines,
            "",
            "",
        )
    )


def run(text: str, *table: str) -> tuple[Config, list[str]]:
    """Return the configuration, and what is told of it without the name of the file."""
    saved = table_of(table, "saved") if table else None
    found = imported(Source("mon.cf", text, Path("/"), saved), look_up)
    return parse(found.text, "imported"), [each.removeprefix("mon.cf:") for each in found.remarks]


def told(remarks: list[str], text: str) -> list[int]:
    """Return the lines of which something is told with this text in it."""
    return [int(each.partition(":")[0]) for each in remarks if text in each]


def refusal(text: str) -> str:
    """Return why a file is refused."""
    with pytest.raises(RefusedError) as error:
        run(text)
    return str(error.value)


def test_table_counts_where_ipvs_alert_says_something_else() -> None:
    text = watch("198.51.100.1", "period", f"alert {IPVS}", f"upalert {IPVS} -W 5 -F dr -B -S lc")
    config, remarks = run(text, *WEB)
    (service,) = config.services
    assert (service.scheduler, service.real_servers[0].weight) == ("wrr", 1)
    for each in (
        "it says scheduler lc, and the table says wrr",
        "it says weight 5, and the table says 1",
        "it says droute",
    ):
        assert told(remarks, each) == [8]


def test_server_that_was_down_when_the_table_was_saved_comes_from_ipvs_alert() -> None:
    second = IPVS.replace("100.1:", "100.2:")
    text = watch("198.51.100.2", "period", f"alert {second}", f"upalert {second} -W 5 -F nat")
    config, remarks = run(text, *WEB)
    (service,) = config.services
    assert any(
        "203.0.113.1:80/tcp: 198.51.100.2:80 is not in the table; it is written as ipvs.alert" in each
        for each in remarks
    )
    assert [(each.endpoint.address, each.weight) for each in service.real_servers] == [("198.51.100.2", 5)]
    assert service.foreign_servers is ForeignServers.KEEP  # 198.51.100.1 is there, and nothing watches it


def test_server_that_is_in_no_service_is_told_and_left_out() -> None:
    config, remarks = run(watch("198.51.100.1 198.51.100.7", *SCRIPT), *WEB)
    assert len(config.services[0].real_servers) == 1
    assert told(remarks, "198.51.100.7 is in no service of the table; if it was only down") == [1]


def test_port_of_the_monitor_tells_services_of_one_server_apart() -> None:
    more = ("-A -t 203.0.113.1:25 -s rr", "-a -t 203.0.113.1:25 -r 198.51.100.1:25 -m")
    config, _ = run(watch("198.51.100.1", *SCRIPT), *WEB, *more)
    assert [service.name for service in config.services] == ["web"]
    assert [str(service.endpoint) for service in config.services] == ["203.0.113.1:80"]


def test_monitor_of_another_port_in_several_services_is_a_question() -> None:
    more = ("-A -t 203.0.113.1:25 -s rr", "-a -t 203.0.113.1:25 -r 198.51.100.1:25 -m")
    config, remarks = run(watch("198.51.100.1", *SCRIPT, monitor="tcp.monitor -p 22"), *WEB, *more)
    assert not config.services
    assert told(remarks, "which does this monitor decide about? Write its check there") == [4]


def test_monitor_of_the_host_is_a_check_of_all_its_services() -> None:
    more = ("-A -t 203.0.113.1:25 -s rr", "-a -t 203.0.113.1:25 -r 198.51.100.1:25 -m")
    config, _ = run(watch("198.51.100.1", *SCRIPT, monitor="ping.monitor"), *WEB, *more)
    assert [[check.name for check in service.real_servers[0].checks] for service in config.services] == [
        ["main"],
        ["main"],
    ]


def test_alerts_for_several_servers_of_a_group_are_each_judged_alone_which_is_told() -> None:
    second = IPVS.replace("100.1:", "100.2:")
    text = watch(
        "198.51.100.1 198.51.100.2",
        "period",
        f"alert {IPVS}",
        f"alert {second} -D",
        f"upalert {IPVS} -W 1 -F nat -B -S rr",
    )
    config, remarks = run(text)
    assert [each.endpoint.address for each in config.services[0].real_servers] == ["198.51.100.1", "198.51.100.2"]
    assert told(remarks, "mon takes it out when any host of the group fails") == [8, 9]
    assert told(remarks, "-D removes the whole virtual service") == [9]
    assert told(remarks, "no upalert puts 198.51.100.2:80 back, so in mon it stays out") == [9]


def test_alert_for_a_server_that_is_no_host_of_the_group_is_a_question() -> None:
    config, remarks = run(watch("198.51.100.3 198.51.100.4", "period", f"alert {IPVS}"))
    assert not config.services
    assert told(remarks, "which host of hostgroup web is 198.51.100.1:80? Write its address there") == [4]


@pytest.mark.parametrize(
    ("arguments", "question"),
    [
        ("-P tcp -V 203.0.113.1:0 -R 198.51.100.1:80", "ipvsadm refuses port 0 without persistence"),
        ("-P tcp -V 203.0.113.1:80 -R 198.51.100.1:0", "a real server with port 0"),
        ("-P tcp -V 203.0.113.1:80 -R 198.51.100.1:80 -B -S best", "the kernel has no scheduler 'best'"),
        ("-P tcp -V 203.0.113.1:99999 -R 198.51.100.1:80", "ipvsadm refuses it: "),
        ("-P tcp -V 203.0.113.1:80 -R 198.51.100.1:80 -W many", "ipvsadm refuses it: "),
    ],
)
def test_arguments_that_ipvsadm_refuses_are_told(arguments: str, question: str) -> None:
    config, remarks = run(watch("198.51.100.1", "period", f"alert {IPVS}", f"upalert ipvs.alert {arguments}"))
    assert told(remarks, question) == [4]
    assert all(service.scheduler != "best" for service in config.services)


def test_server_that_several_alerts_name_has_its_check_once() -> None:
    more = IPVS.replace("-V 203.0.113.1:80", "-V 203.0.113.1:080")
    text = watch(
        "198.51.100.1", "period", f"alert {IPVS}", f"upalert {IPVS} -W 1 -F nat -B -S rr", f"upalert {more} -W 1 -F nat"
    )
    config, _ = run(text)
    assert [check.name for check in config.services[0].real_servers[0].checks] == ["main"]


def test_program_of_its_own_for_each_server() -> None:
    text = watch("198.51.100.1", *SCRIPT, monitor="x.monitor one") + watch(
        "198.51.100.2", *SCRIPT, name="more", monitor="x.monitor two"
    )
    config, _ = run(text, *WEB, "-a -t 203.0.113.1:80 -r 198.51.100.2:80 -m")
    checks = [server.checks[0] for server in config.services[0].real_servers]
    assert [check.command[1] for check in checks if isinstance(check, ExecCheck)] == ["one", "two"]


def test_services_come_in_the_order_of_their_lines() -> None:
    tells = watch("198.51.100.5", "period", "alert mail.alert ops@example.org")
    config, _ = run(
        tells + watch("198.51.100.1", *SCRIPT, name="more"),
        *WEB,
        "-A -t 203.0.113.5:80",
        "-a -t 203.0.113.5:80 -r 198.51.100.5 -m",
    )
    assert [service.name for service in config.services] == ["web", "more"]


def test_check_goes_where_the_monitor_goes() -> None:
    text = watch(
        "198.51.100.9", "period", f"alert {IPVS}", f"upalert {IPVS} -W 1 -F nat -B -S rr", monitor="tcp.monitor -p 8080"
    )
    config, _ = run(text)
    (server,) = config.services[0].real_servers
    assert (server.endpoint.address, server.endpoint.port) == ("198.51.100.1", 80)
    assert (server.checks[0].address, server.checks[0].port) == ("198.51.100.9", 8080)


def test_other_monitors_of_a_linked_server_need_no_table() -> None:
    text = watch("198.51.100.1", "period", f"alert {IPVS}", f"upalert {IPVS} -W 1 -F nat -B -S rr").rstrip("\n")
    config, _ = run("\n".join((text, "service ssh", "interval 30s", "monitor tcp.monitor -p 22", *SCRIPT)))
    assert [check.name for check in config.services[0].real_servers[0].checks] == ["main", "ssh"]


def test_monitor_that_only_tells_becomes_a_check_where_no_other_is_which_is_told() -> None:
    config, remarks = run(watch("198.51.100.1", "period", "alert mail.alert ops@example.org"), *WEB)
    assert [check.name for check in config.services[0].real_servers[0].checks] == ["main"]
    assert told(remarks, "no alert of it changes the table, so in mon a server that fails stays in") == [4]


def test_same_service_of_two_groups_is_two_checks_of_a_server() -> None:
    text = watch("198.51.100.1", *SCRIPT) + watch(
        "198.51.100.1", *SCRIPT, name="more", monitor="tcp.monitor -p 80 -t 3"
    )
    config, _ = run(text, *WEB)
    assert [check.name for check in config.services[0].real_servers[0].checks] == ["web main", "more main"]


def test_mark_whose_ports_the_kernel_does_not_use() -> None:
    config, remarks = run(watch("198.51.100.1", *SCRIPT), "-A -f 7 -s rr", "-a -f 7 -r 198.51.100.1:80 -g -w 1")
    (server,) = config.services[0].real_servers
    assert (config.services[0].fwmark, server.endpoint.port, server.checks[0].port) == (7, 0, 80)
    assert any("the kernel does not use the port of 198.51.100.1:80" in each for each in remarks)


def test_services_of_path_probes_are_no_services_of_mon() -> None:
    config, _ = run(watch("198.51.100.1", *SCRIPT), *WEB, "-A -f 65536 -s rr", "-a -f 65536 -r 198.51.100.1:0 -g")
    assert [str(service.endpoint) for service in config.services] == ["203.0.113.1:80"]
    config, _ = run(
        watch("198.51.100.1", *SCRIPT, monitor="ping.monitor"), "-A -f 65536 -s rr", "-a -f 65536 -r 198.51.100.1 -g"
    )
    assert not config.services


def test_host_by_name_is_asked_by_its_name() -> None:
    config, remarks = run(watch("web1", *SCRIPT, monitor="http.monitor"), *WEB)
    (check,) = config.services[0].real_servers[0].checks
    assert isinstance(check, HttpCheck)
    assert check.host == "web1"
    assert told(remarks, "web1 is 198.51.100.1 now") == [1]


def test_host_twice_is_checked_once() -> None:
    config, remarks = run(watch("web1 198.51.100.1", *SCRIPT), *WEB)
    assert len(config.services[0].real_servers[0].checks) == 1
    assert told(remarks, "198.51.100.1 is 198.51.100.1, which is in the hostgroup already") == [1]


def test_words_after_a_hash_are_hosts_for_mon_and_refused_here() -> None:
    assert refusal(watch("198.51.100.1 # the first", *SCRIPT)) == (
        "mon.cf:1: refused: mon takes '#' and what follows for hosts; was a comment meant? It needs a line of its own"
    )


@pytest.mark.parametrize(
    ("monitor", "question"),
    [
        ('"x.monitor" -p 80', "mon takes quotes for a part of the monitor's name"),
        ("/usr/lib/mon/mon.d/tcp.monitor", "mon looks for monitors in mondir only"),
        ("x.monitor don't", "a quote or backslash is left over"),
        ("x.monitor {port}", "{address} and {port} mean something to lvs-healthd"),
    ],
)
def test_monitor_that_mon_takes_otherwise_is_refused(monitor: str, question: str) -> None:
    assert refusal(watch("198.51.100.1", *SCRIPT, monitor=monitor)).startswith(f"mon.cf:6: refused: {question}")


@pytest.mark.parametrize(
    "monitor",
    [
        'http.monitor -m "ok"',
        "http.monitor -u alive",
        'http.monitor -u "/a b"',
        "http.monitor -t 0.5",
        "http.monitor -x",
        "http.monitor -p 80 198.51.100.200",
        "tcp.monitor -p http",
        "tcp.monitor -p 99999",
        "tcp.monitor -p 00",
        "http.monitor -t 00",
        "ping.monitor -c 3",
        "fping.monitor",
        "http.monitor -p 80;;",
    ],
)
def test_monitor_is_run_itself_where_no_native_check_is_the_same(monitor: str) -> None:
    text = "mondir = /usr/lib/mon/mon.d\n\n" + watch("198.51.100.1", *SCRIPT, monitor=monitor)
    config, _ = run(text, *WEB)
    assert isinstance(config.services[0].real_servers[0].checks[0], ExecCheck)


@pytest.mark.parametrize(
    ("monitor", "port", "timeout"),
    [
        ("tcp.monitor", 23, 10),
        ("tcp.monitor -t 3 -p 80", 80, 3),
        ("http.monitor -op http", 80, 30),
        ("pop3.monitor -t0", 110, 30),
    ],
)
def test_port_and_timeout_of_native_checks(monitor: str, port: int, timeout: float) -> None:
    config, _ = run(watch("198.51.100.1", *SCRIPT, monitor=monitor), *WEB)
    (check,) = config.services[0].real_servers[0].checks
    assert (check.port, float(check.timeout)) == (port, timeout)


def test_alert_that_cannot_be_used_loses_no_other() -> None:
    odd = "ipvs.alert -P tcp -V 203.0.113.1:99999 -R 198.51.100.1:80"
    text = watch("198.51.100.1", "period", f"alert {IPVS}", f"alert {odd}", f"upalert {IPVS} -W 1 -F nat -B -S rr")
    found = imported(Source("mon.cf", text, Path("/")), look_up)
    assert "# from mon.cf, lines 1 and 4-10\n[[service]]" in found.text
    (remark,) = (each for each in found.remarks if "ipvsadm refuses it" in each)
    assert remark.startswith("mon.cf:4: not carried over: ")


@pytest.mark.parametrize("interval", ["0.0s", "0.2s", "1s"])
def test_interval_is_a_second_at_least(interval: str) -> None:
    text = watch("198.51.100.1", "failure_interval 3s", "period", "alertafter 5s", *SCRIPT[1:]).replace(
        "interval 10s", f"interval {interval}"
    )
    (check,) = run(text, *WEB)[0].services[0].real_servers[0].checks
    assert (float(check.interval), check.fall) == (1, 7)


@pytest.mark.parametrize("monitor", ["http.monitor -t 99999", "fping.monitor -t 99999 -r 10"])
def test_timeout_is_an_hour_at_most_which_is_told(monitor: str) -> None:
    config, remarks = run(watch("198.51.100.1", *SCRIPT, monitor=monitor), *WEB)
    assert float(config.services[0].real_servers[0].checks[0].timeout) == 3600
    assert told(remarks, "the longest timeout is 3600s") == [6]


def test_service_that_has_to_be_asked_for_has_no_name_twice() -> None:
    text = watch(
        "198.51.100.1 198.51.100.2",
        "exclude_hosts 198.51.100.2",
        "period",
        f"alert {IPVS}",
        f"upalert {IPVS} -W 1 -F nat -B -S rr",
    )
    more = "\n".join(
        (text.rstrip(), "service more", "exclude_hosts 198.51.100.1", "interval 10s", "monitor tcp.monitor", *SCRIPT)
    )
    found = imported(Source("mon.cf", more, Path("/")), look_up)
    assert found.text.count('name = "web"') == 1
    assert found.text.count("[[service]]") == 2


def test_nul_byte_is_refused() -> None:
    assert refusal(watch("198.51.100.1", "TOKEN=a\0b")).startswith("mon.cf:7: refused: it holds a NUL byte")


def test_file_for_m4_is_refused_with_what_to_type() -> None:
    with pytest.raises(RefusedError, match=r"type: m4 mon\.m4 \| lvs-healthd import mon -"):
        imported(Source("mon.m4", "", Path("/")))


def test_folder_of_a_monitor_that_cannot_be_seen_here_is_told() -> None:
    _, remarks = run(watch("198.51.100.1", *SCRIPT, monitor="queue.monitor"), *WEB)
    assert told(
        remarks, "none of mondir's folders (/usr/local/lib/mon/mon.d, /usr/lib/mon/mon.d) has queue.monitor here"
    ) == [6]
