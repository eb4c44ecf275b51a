"""What mon has understood of a file is what the imported configuration does."""

import json
from pathlib import Path
from typing import Any

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, Convention, ExecCheck, HttpCheck
from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config, ForeignServers
from lvs_healthd.importers.account import Fate, RefusedError
from lvs_healthd.importers.ipvsadm import table_of
from lvs_healthd.importers.mon.carrying import Carried, carried, imported
from lvs_healthd.importers.source import Source
from lvs_healthd.ipvs.records import ServiceEntry, Table
from lvs_healthd.plan.records import prepare
from tests.importers.mon_understanding import CORPUS, files, reading
from tests.importers.test_mon_lines import ADDRESSES, look_up

REFUSED_BY_US = {
    "folders-torn-apart": (1,),
    "no-blank-line-before-watch": (5,),
    "quotes-and-words": (16, 18),
}
"""Files that mon accepts, but understands in a way that their writers did not mean, with the lines."""

LEFT_OUT = {
    ("decide-and-tell", "pool", "ssh"),  # it only tells, beside a monitor that decides
    ("decide-and-tell", "pool", "ping"),
    ("depends-and-excludes", "lan", "ping"),
    ("depends-and-excludes", "gw", "ping"),  # the gateway is no real server
    ("mail-cluster", "mx", "queue"),  # one of three services: which?
    ("traps-and-acknowledging", "remote", "heartbeat"),  # mon itself never checks it
}
"""The services of mon whose monitors do not become checks: file, group and service."""


def source(name: str, *, has_table: bool = True) -> Source:
    """Return a file of the corpus, with its table if there is one."""
    table = CORPUS / f"{name}.table"
    saved = table_of(table.read_text().splitlines(), table.name) if has_table and table.exists() else None
    return Source(f"{name}.cf", (CORPUS / f"{name}.cf").read_bytes().decode(), Path("/"), saved)


def expected(name: str) -> dict[str, Any]:
    """Return what mon has understood of a file."""
    found: dict[str, Any] = json.loads((CORPUS / f"{name}.expected.json").read_text())
    return found


def accepted() -> list[str]:
    """Return the names of the files that are carried over."""
    return [name for name in files() if expected(name)["accepted"] and name not in REFUSED_BY_US]


def planned(config: Config) -> Table:
    """Return the table of a configuration when every server is up."""
    return {
        each.key: ServiceEntry(each.record, {server.key: server.record for server in each.servers})
        for each in prepare(config)
    }


def made_of(name: str) -> tuple[Carried, Config]:
    """Return what is made of a file. What it has to ask for is answered."""
    found = carried(source(name), look_up)
    answers = 'protocol = "tcp"\nscheduler = "rr"\nforward = "nat"\n' if "missing: scheduler" in found.text else ""
    return found, parse(found.text.replace('protocol = "tcp"\n', answers or 'protocol = "tcp"\n'), "imported")


@pytest.mark.parametrize("name", [name for name in files() if name not in accepted()])
def test_refused_file_names_its_line(name: str) -> None:
    with pytest.raises(RefusedError) as error:
        imported(source(name), look_up)
    wanted = expected(name)
    lines = REFUSED_BY_US.get(name) or (int(wanted["message"].rpartition("line ")[2]),)
    assert [each.partition(": refused: ")[0] for each in error.value.errors] == [f"{name}.cf:{line}" for line in lines]


@pytest.mark.parametrize("name", [name for name in accepted() if (CORPUS / f"{name}.table").exists()])
def test_configuration_yields_the_lines_of_the_table_that_are_watched(name: str) -> None:
    table = source(name).table
    found, config = made_of(name)
    made = planned(config)
    assert made
    assert table is not None
    for service, (key, entry) in zip(config.services, made.items(), strict=True):
        assert entry.service == table[key].service
        assert entry.destinations.items() <= table[key].destinations.items()
        # Servers that are left out stay in the table as they are, and are told.
        rest = table[key].destinations.keys() - entry.destinations.keys()
        assert (service.foreign_servers is ForeignServers.KEEP) == bool(rest)
        assert all(any(str(server) in note for note in found.notes) for server in rest)


@pytest.mark.parametrize("name", accepted())
def test_servers_have_the_checks_that_mon_runs(name: str) -> None:
    found, config = made_of(name)
    made = {
        (server.endpoint.address, check.name, check.interval, check.rise)
        for service in config.services
        for server in service.real_servers
        for check in server.checks
    }
    configuration, _ = reading(source(name).text, f"{name}.cf")
    wanted = set()
    understood = expected(name)
    for group, services in understood["watch"].items():
        for each, facts in services.items():
            if (name, group, each) in LEFT_OUT:
                place = configuration.watches[group].services[each].places[0]
                assert found.account.fates(place) == {Fate.DROPPED}
                continue
            is_hostless = facts["monitor"].endswith(";;")
            hosts = [word for word in understood["groups"][group] if is_hostless or word in facts["monitor_argv"]]
            wanted |= {(ADDRESSES.get(host, host), each, facts["interval_s"], 1) for host in hosts}
    assert made == wanted


@pytest.mark.parametrize("name", accepted())
def test_programs_are_run_with_the_words_that_mon_gives_them(name: str) -> None:
    understood = expected(name)
    commands = {
        check.name: (check.command[0].rpartition("/")[2], *(word for word in check.command[1:] if word != ";;"))
        for service in made_of(name)[1].services
        for server in service.real_servers
        for check in server.checks
        if isinstance(check, ExecCheck)
    }
    for group, services in understood["watch"].items():
        for each, facts in services.items():
            words = [word for word in facts.get("monitor_argv", ()) if word not in understood["groups"][group]]
            assert each not in commands or commands[each] == tuple(words)


@pytest.mark.parametrize("name", accepted())
def test_without_a_table_what_is_missing_is_asked_for(name: str) -> None:
    found = imported(source(name, has_table=False), look_up)
    if name == "ipvs-alert-per-server":
        assert found.is_lossless
        assert [each.partition(": ")[2] for each in found.remarks] == [NOT_NEEDED, NOT_NEEDED]
        return
    assert not found.is_lossless
    if "ipvs-alert" not in name:
        assert "# missing: address = " in found.text
        assert any("ipvsadm -Sn > FILE, and import again with --table FILE" in remark for remark in found.remarks)


NOT_NEEDED = "not needed: the table is kept true, and not only when something changes"


def checks_of(name: str) -> dict[str, AnyCheck]:
    """Return the checks of the first real server of each service of a file, by name."""
    return {check.name: check for service in made_of(name)[1].services for check in service.real_servers[0].checks}


def test_http_monitor_becomes_the_same_request_and_conditions() -> None:
    check = checks_of("two-servers-one-group-each")["http"]
    assert isinstance(check, HttpCheck)
    assert (check.path, check.host, check.http_version) == ("/health", "198.51.100.11", "1.0")
    assert check.timeout == Seconds(5)
    assert check.headers == (("User-Agent", "mon.d/http.monitor"),)
    assert {200, 301, 302, 401} == {status for first, last in check.status for status in range(first, last + 1)}
    assert (check.fall, check.rise) == (1, 1)


def test_alertafter_and_failure_interval_become_fall_and_paces() -> None:
    check = checks_of("decide-and-tell")["http"]
    assert (check.fall, check.rise) == (3, 1)
    assert (check.interval, check.fast_interval, check.down_interval) == (Seconds(5), Seconds(2), Seconds(2))


def test_time_of_alertafter_becomes_the_failures_that_last_longer() -> None:
    assert checks_of("ipvs-alert-for-a-group")["https"].fall == 5  # 60s at 20s: the fifth comes after more than 60s


def test_periods_that_differ_are_a_question() -> None:
    found, config = made_of("when-alerts-go")
    assert config.services[0].real_servers[0].checks[0].fall == 3  # the default
    assert "# missing: fall = ... at the check a: mon.cf says different things in its periods" in found.text
    remarks = [each for each in found.account.remarks() if "how many failures" in each]
    assert [each.split(":")[1] for each in remarks] == ["10", "17", "22"]


def test_monitor_that_is_no_native_check_is_run_as_mon_runs_it() -> None:
    checks = checks_of("mark-and-programs")
    nfs, raid = checks["nfs"], checks["raid"]
    assert isinstance(nfs, ExecCheck)
    assert isinstance(raid, ExecCheck)
    assert nfs.command == ("/usr/lib/mon/mon.d/rpc.monitor", "-r", "nfs", "-r", "mountd")
    assert raid.command == ("/usr/lib/mon/mon.d/raid.monitor", "--all", ";;")
    assert dict(nfs.environment) == {"TIMEOUT": "10", "MON_GROUP": "files", "MON_STATEDIR": "/var/lib/mon"}
    assert nfs.convention is Convention.MON


def test_mail_monitors_become_conversations() -> None:
    checks = checks_of("mail-cluster")
    assert {name: type(check).__name__ for name, check in checks.items()} == {
        "smtp": "TcpCheck",
        "pop3": "TcpCheck",
        "imap": "ExecCheck",
        "alive": "ExecCheck",
    }


def test_one_group_for_each_server_becomes_one_service() -> None:
    config = made_of("two-servers-one-group-each")[1]
    assert [len(service.real_servers) for service in config.services] == [2]


def test_limit_of_processes_is_carried_over_where_programs_run() -> None:
    assert made_of("ipvs-alert-dns")[1].daemon.max_exec == 10
