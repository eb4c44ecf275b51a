"""What the importer makes of files is what ldirectord itself understood of them (made by `oracle.py`)."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lvs_healthd.config.check_model import AnyCheck, DnsCheck, ExecCheck, HttpCheck, HttpsCheck, PingCheck, TcpCheck
from lvs_healthd.config.model import Config, OnFailure, Service
from lvs_healthd.importers.account import Fate
from lvs_healthd.importers.ipvsadm import table_of
from lvs_healthd.plan.records import planned, service_key
from tests.importers.ldirectord.files import CORPUS, config, lines_with, read_file, refused

FILES = sorted(CORPUS.glob("*.cf"))

QUESTIONS = {
    "asked-units-and-lists": {1, 3, 4, 5, 7, 13},
    "virtual-without-port": {1},
}
"""Files that do not mean to ldirectord what their writers meant, with the lines that are asked about."""

WITHOUT_CHECK = {
    "fwmark-two-ports": {"fwm:8"},
    "ipv6-pair": {"fwm6:9"},
    "port-without-a-service": {"tcp:192.0.2.100:8080"},
    "mail-cluster": {"tcp:192.0.2.25:995"},
    "databases": {"tcp:192.0.2.33:1521", "tcp:192.0.2.33:33060"},
    "external-programs": {"tcp:192.0.2.44:8445"},
    "proxies-and-text": {"tcp:192.0.2.80:7001", "tcp:192.0.2.80:8000"},
    "ftp-and-names": {"tcp:192.0.2.22:21", "tcp:192.0.2.23:21", "udp:192.0.2.55:53"},
    "on-and-off": {"tcp:192.0.2.31:80", "tcp:192.0.2.34:80"},
}
"""The services for which ldirectord checks nothing, or never finds a server up: a check is asked for."""

TOLD = {
    "web-nat-fallback": {Fate.DROPPED: {4, 5}, Fate.IGNORED: {7}},
    "fwmark-two-ports": {Fate.DROPPED: {12}},
    "ipv6-pair": {Fate.DROPPED: {10}, Fate.IGNORED: {2}},
    "port-without-a-service": {Fate.DROPPED: {4, 5, 6}},
    "request-per-server": {Fate.IGNORED: {5}},
    "timeouts-inherited": {Fate.IGNORED: {12}},
    "mail-cluster": {Fate.DROPPED: {38}},
    "https-persistent-quiescent": {Fate.DROPPED: {4, 5, 7, 8}},
    "directory-and-radius": {Fate.IGNORED: {8}},
    "databases": {Fate.DROPPED: {19, 21, 22, 23, 24, 27}},
    "external-programs": {Fate.DROPPED: {20, 21}},
    "names-of-hosts": {Fate.IGNORED: {15, 17}},
    "proxies-and-text": {Fate.DROPPED: {15, 16, 29}},
    "ftp-and-names": {Fate.DROPPED: {9, 10, 12, 13, 22, 23, 25}},
    "tunnels-marks-thresholds": {Fate.IGNORED: {2}},
    "on-and-off": {Fate.DROPPED: {4, 5, 15, 16}, Fate.IGNORED: {6, 7, 8}},
}
"""The lines that are not carried over, or not used by ldirectord either. All others are carried over or empty."""

TYPES = {
    "http": HttpCheck,
    "https": HttpsCheck,
    "dns": DnsCheck,
    "mysql": ExecCheck,
    "pgsql": ExecCheck,
    "radius": ExecCheck,
    "ftp": ExecCheck,
    "connect": TcpCheck,
    "external": ExecCheck,
    "external-perl": ExecCheck,
    "ping": PingCheck,
}
METHODS = {"masq": "-m", "gate": "-g", "ipip": "-i"}


def expected_of(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.with_suffix(".expected.json").read_text(encoding="utf-8"))
    return found


ACCEPTED = [file for file in FILES if expected_of(file)["accepted"]]
CARRIED = [file for file in ACCEPTED if file.stem not in QUESTIONS]


def test_there_are_files_of_both_kinds() -> None:
    assert len(CARRIED) >= 17
    assert len(FILES) - len(ACCEPTED) >= 9


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_line_is_accounted_for(file: Path) -> None:
    assert read_file(file).account.unmentioned() == ()


@pytest.mark.parametrize("file", [file for file in FILES if file not in ACCEPTED], ids=lambda file: file.stem)
def test_what_ldirectord_refuses_is_refused_with_its_line(file: Path) -> None:
    reading = read_file(file)
    found = re.match(r"Error at line (\d+)", expected_of(file)["message"])
    assert found is not None
    named = {int(each) for each in re.findall(r"names line (\d+)", "\n".join(reading.account.remarks()))}
    assert int(found[1]) in refused(reading) | named
    assert reading.text == ""


@pytest.mark.parametrize("file", [file for file in ACCEPTED if file.stem in QUESTIONS], ids=lambda file: file.stem)
def test_what_ldirectord_takes_otherwise_than_it_was_meant_is_asked_about(file: Path) -> None:
    reading = read_file(file)
    assert refused(reading) == QUESTIONS[file.stem]
    assert reading.text == ""


@pytest.mark.parametrize("file", CARRIED, ids=lambda file: file.stem)
def test_only_these_lines_are_told(file: Path) -> None:
    reading = read_file(file)
    wanted: dict[Fate, set[int]] = TOLD.get(file.stem, {})
    assert lines_with(reading, Fate.DROPPED) == wanted.get(Fate.DROPPED, set())
    assert lines_with(reading, Fate.IGNORED) == wanted.get(Fate.IGNORED, set())


@pytest.mark.parametrize("file", CARRIED, ids=lambda file: file.stem)
def test_services_and_servers_in_the_table_are_those_of_ldirectord(file: Path) -> None:
    services = [each for each in expected_of(file)["services"] if each["check"]["checktype"] != "off"]
    commands: list[str] = []
    for each in services:
        commands.append(f"-A {each['ipvsadm_arguments']}")
        commands += [command for real in each["real_servers"] if (command := added(each, real)) not in commands]
    wanted = table_of(commands, "wanted")
    found = {service_key(service): planned(service) for service in config(read_file(file)).services}
    assert found.keys() == wanted.keys()
    for key, entry in wanted.items():
        assert found[key].record == entry.service
        assert {server.record.key: server.record for server in found[key].servers} == entry.destinations


def added(service: dict[str, Any], real: dict[str, Any]) -> str:
    """Return ldirectord's command for a real server, with the port that the kernel uses."""
    port, is_mapped = real["port"], real["forward"] == "masq"
    if service["fwmark"]:
        port = port if is_mapped and service["persistence_s"] is None else 0
    elif not port:
        port = service["port"]
    where = service["ipvsadm_arguments"].partition(" -s ")[0].replace(" -o", "")
    # Without an upper threshold the kernel does nothing with a lower one (ip_vs_conn.c, ip_vs_bind_dest).
    lower = real["lower_threshold"] if real["upper_threshold"] else 0
    limits = f"-x {real['upper_threshold'] or 0} -y {lower or 0}"
    return f"-a {where} -r {real['address']}:{port} {METHODS[real['forward']]} -w {real['weight']} {limits}"


def by_identity(file: Path) -> list[tuple[Service, dict[str, Any]]]:
    """Return our services and ldirectord's, beside each other."""
    made: Config = config(read_file(file))
    wanted = [each for each in expected_of(file)["services"] if each["check"]["checktype"] != "off"]
    return list(zip(made.services, wanted, strict=True))


@pytest.mark.parametrize("file", CARRIED, ids=lambda file: file.stem)
def test_failures_and_fallbacks_are_those_of_ldirectord(file: Path) -> None:
    for ours, theirs in by_identity(file):
        assert ours.on_failure is (OnFailure.QUIESCE if theirs["when_down"] == "quiesce" else OnFailure.REMOVE)
        fallback = theirs["fallback"]
        if fallback is None or fallback["address"] is None:
            assert ours.fallback == ()
            continue
        (found,) = ours.fallback
        forward = {"masq": "nat", "gate": "dr", "ipip": "tun"}[fallback["forward"]]
        uses_own_port = fallback["forward"] == "masq" and not theirs["fwmark"]
        port = fallback["port"] if uses_own_port else theirs["port"] or 0
        assert (found.endpoint.address, found.endpoint.port) == (fallback["address"].strip("[]"), port)
        assert (found.forward, found.checks) == (forward, ())


@pytest.mark.parametrize("file", CARRIED, ids=lambda file: file.stem)
def test_checks_are_those_of_ldirectord(file: Path) -> None:
    for ours, theirs in by_identity(file):
        if theirs["id"] in WITHOUT_CHECK.get(file.stem, ()):
            continue
        for server, real in zip(ours.real_servers, theirs["real_servers"], strict=True):
            if theirs["check"]["checktype"] == "combined":
                connect, check = server.checks
                assert isinstance(connect, TcpCheck)
                assert (connect.port, connect.interval) == (real["probe_port"], theirs["pause_between_rounds_s"])
                every = (theirs["check"]["connects_between_negotiates"] + 1) * theirs["pause_between_rounds_s"]
                assert (check.interval, check.down_interval) == (every, theirs["pause_between_rounds_s"])
            else:
                (check,) = server.checks
                assert check.interval == theirs["pause_between_rounds_s"]
            judge(check, theirs, real)


def judge(check: AnyCheck, service: dict[str, Any], real: dict[str, Any]) -> None:
    """Compare a check with what ldirectord does with this server."""
    kind = service["check"].get("service") or service["check"]["checktype"]
    kind = "ping" if kind == "connect" and service["protocol"] == "udp" else kind
    assert kind not in TYPES or type(check).__name__ == TYPES[kind].__name__
    time = "checktimeout_s" if kind in {"ldap", "ldaps", "radius"} else "timeout_s"
    assert (check.timeout, check.rise) == (service[time], 1)
    if kind == "ping":
        assert check.fall % service["failures_to_go_down"] == 0
        return
    assert check.fall == service["failures_to_go_down"]
    if kind not in {"external", "external-perl"}:
        assert check.port == real["probe_port"]
    if isinstance(check, HttpCheck):
        address = f"[{check.address}]" if ":" in check.address else check.address
        assert f"{kind}://{address}:{check.port}{check.path}" == real["probe_url"]
        assert check.method == service["check"]["http_method"]
        assert check.host == (service["check"]["host_header"] or real["address"])
        assert (check.body or check.body_regex) == real["receive"]
    if isinstance(check, HttpsCheck):
        assert not check.tls.verify


@pytest.mark.parametrize("file", CARRIED, ids=lambda file: file.stem)
def test_a_check_is_asked_for_only_where_ldirectord_has_none_that_works(file: Path) -> None:
    reading = read_file(file)
    wanted = WITHOUT_CHECK.get(file.stem, set())
    assert reading.text.count("# A check is missing: ") == len(wanted)
    assert wanted <= {each["id"] for each in expected_of(file)["services"]}
