"""A saved table is turned into a configuration that yields the same table."""

import random

import pytest

from lvs_healthd.config.check_model import SILENT_INTERVAL, SILENT_TIMEOUT
from lvs_healthd.config.load import parse
from lvs_healthd.importers.configuration import imported
from lvs_healthd.importers.ipvsadm import table_of
from lvs_healthd.ipvs.records import ServiceEntry, Table
from lvs_healthd.plan.records import prepare
from tests.ipvs.random_tables import random_table

SAVED = """
-A -t 192.0.2.1:80 -s wrr -p 300 -M 255.255.255.0
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 1
-a -t 192.0.2.1:80 -r 10.0.0.3:80 -g -w 0
-A -f 7 -s rr
-a -f 7 -r 10.0.0.1:0 -g -w 1
"""


def configured(text: str) -> Table:
    """Return the table of a configuration when every server is up."""
    planned = prepare(parse(text, "imported"))
    return {
        each.key: ServiceEntry(each.record, {server.key: server.record for server in each.servers}) for each in planned
    }


def test_text_and_remarks() -> None:
    found = imported(table_of(SAVED.splitlines(), "saved"), "rules")
    assert found.text.startswith("# Made from rules by `lvs-healthd import`.")
    assert found.text.partition("\n\n")[2] == (
        "[[service]]\n"
        'address = "192.0.2.1:80"\nprotocol = "tcp"\nscheduler = "wrr"\nforward = "nat"\npersistence = "300s"\n'
        'persistence_mask = 24\nreal_server = [\n    { address = "10.0.0.1:8080", weight = 3 },\n    "10.0.0.2",\n'
        '    { address = "10.0.0.3", weight = 0, forward = "dr" },\n]\n\n[service.check]\ntype = "tcp"\n\n'
        '[[service]]\nfwmark = 7\nfamily = "ipv4"\nscheduler = "rr"\nforward = "dr"\nreal_server = [\n'
        '    "10.0.0.1",\n]\n\n[service.check]\ntype = "tcp"\nport = 80\n'
    )
    assert found.remarks == (
        "192.0.2.1:80/tcp: has servers of weight 0, which stay configured but get no connections",
        "fwmark 7: its check goes to port 80, a guess; set the port that shows its servers' health",
    )


def test_udp_check_that_expects_nothing_is_reported() -> None:
    found = imported(table_of(["-A -u 192.0.2.1:53", "-a -u 192.0.2.1:53 -r 10.0.0.1"], "saved"), "rules")
    assert found.remarks == (
        (
            "192.0.2.1:53/udp: its check is content with silence, and sees only closed ports and hosts that are gone "
            "from the director's own network; give it something to expect"
        ),
    )
    [check] = parse(found.text, "imported").services[0].real_servers[0].checks
    assert (check.timeout, check.interval) == (SILENT_TIMEOUT, SILENT_INTERVAL)


def test_sctp_check_is_told_to_be_none() -> None:
    service = "--sctp-service 192.0.2.1:2905"
    found = imported(table_of([f"-A {service}", f"-a {service} -r 10.0.0.1 -m"], "saved"), "rules")
    assert found.remarks == (
        (
            "192.0.2.1:2905/sctp: its check is TCP, because there is none for SCTP; set a port where its servers "
            "speak TCP"
        ),
    )


def test_port_that_a_mark_maps_is_kept_and_probed() -> None:
    found = imported(table_of(["-A -f 7 -s rr", "-a -f 7 -r 10.0.0.1:8080 -m"], "saved"), "rules")
    assert found.remarks == ()
    assert '"10.0.0.1:8080"' in found.text
    assert parse(found.text, "imported").services[0].real_servers[0].checks[0].port == 8080


@pytest.mark.parametrize("service", ["-f 7", "-f 7 -p", "-t 192.0.2.1:0 -p"])
def test_port_that_the_kernel_does_not_use_is_left_out_with_a_remark(service: str) -> None:
    method = "-m" if "-p" in service else "-g"
    endpoint = service.removesuffix(" -p")
    lines = [f"-A {service}", *(f"-a {endpoint} -r 10.0.0.1:{port} {method} -w 5" for port in (8080, 8081))]
    found = imported(table_of(lines[: 2 if "-t" in service else 3], "saved"), "rules")
    assert "the kernel does not use the port of 10.0.0.1:8080; it is left out" in found.remarks[0]
    if "-f" in service:
        assert found.remarks[1].endswith(
            "of 10.0.0.1:8081; it is left out; it is there twice without the port, and the first is kept"
        )
    assert parse(found.text, "imported").services[0].real_servers[0].endpoint.port == 0


def test_service_without_servers_is_left_out_with_a_remark() -> None:
    found = imported(table_of(["-A -f 7", "-A -f 8", "-a -f 8 -r 10.0.0.1"], "saved"), "rules")
    assert "fwmark = 7" not in found.text
    assert found.remarks[0] == "fwmark 7 has no real server and is left out"


@pytest.mark.parametrize("seed", range(300))
def test_configuration_holds_the_table_it_was_made_of(seed: int) -> None:
    table = random_table(random.Random(seed))
    assert configured(imported(table, "random").text) == table


PATH_PROBES = """
-A -f 65536 -s rr
-a -f 65536 -r 10.0.0.1:0 -g -w 1
-A -f 65537 -s rr
-a -f 65537 -r 10.0.0.2:0 -g -w 1
"""


def test_services_of_path_probes_are_left_out_with_a_remark() -> None:
    found = imported(table_of((SAVED + PATH_PROBES).splitlines(), "saved"), "rules")
    assert found.text == imported(table_of(SAVED.splitlines(), "saved"), "rules").text
    assert "fwmark 65536 and 1 more: left out, because path probes of lvs-healthd use such services" in found.remarks


@pytest.mark.parametrize(
    ("old", "new"), [("65536 -s rr", "65536 -s wlc"), ("65536", "65535"), ("-A -f 65537 -s rr", ""), ("65536", "81920")]
)
def test_services_by_mark_that_are_not_of_path_probes_are_imported(old: str, new: str) -> None:
    lines = PATH_PROBES.replace(old, new).replace("-a -f 65537", "-a -f 65536" if not new else "-a -f 65537")
    found = imported(table_of(lines.splitlines(), "saved"), "rules")
    assert found.text.count("[[service]]") == 1
