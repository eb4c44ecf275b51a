"""The services to look at are put together from the configuration, the kernel's table and the daemon's status."""

from lvs_healthd.config.load import parse
from lvs_healthd.doctor.services import Connections, key_of, services_of, with_counters
from lvs_healthd.ipvs.kernel.connections import decode
from lvs_healthd.ipvs.kernel.statistics import ServiceStatistics, Statistics, encoded
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceEntry, ServiceKey, ServiceRecord, Table
from lvs_healthd.ipvs.words import AF_INET, IPPROTO_TCP, IPPROTO_UDP, SVC_F_ONEPACKET, ForwardingMethod
from lvs_healthd.plan.records import prepare

CONFIG = parse(
    """
[[service]]
name = "web"
address = "192.0.2.100:80"
check = "tcp"
real_server = ["198.51.100.11", { address = "198.51.100.12", weight = 3 }]
fallback = ["198.51.100.99:80"]

[[service]]
name = "traps"
address = "192.0.2.100:162"
protocol = "udp"
check = "udp"
real_server = ["198.51.100.11"]

[[service]]
name = "asked"
address = "192.0.2.100:5683"
protocol = "udp"
check = { type = "udp", send_hex = "40 00 00 01", expect_hex = "70" }
real_server = ["198.51.100.11"]
""",
    "config.toml",
)
WEB = ServiceKey(AF_INET, IPPROTO_TCP, "192.0.2.100", 80)


def table(*more: ServiceEntry) -> Table:
    found: Table = {}
    for each in prepare(CONFIG):
        found[each.key] = ServiceEntry(each.record, {server.key: server.record for server in each.servers})
    return found | {entry.service.key: entry for entry in more}


def foreign(key: ServiceKey, method: ForwardingMethod = ForwardingMethod.DROUTE, flags: int = 0) -> ServiceEntry:
    server = DestinationKey(AF_INET, "198.51.100.11", key.port)
    return ServiceEntry(ServiceRecord(key, "sh", flags=flags), {server: DestinationRecord(server, method, 2)})


def test_configured_services_with_what_the_kernel_has() -> None:
    web, traps, asked = services_of(CONFIG, table(), None)
    assert [(each.name, each.weight, each.configured, each.is_fallback) for each in web.servers] == [
        ("198.51.100.11:80", 1, 1, False),
        ("198.51.100.12:80", 3, 3, False),
        ("198.51.100.99:80", None, 1, True),
    ]
    assert [each.expects_answers for each in (web, traps, asked)] == [True, False, True]


def test_strangers_in_the_table_are_looked_at_but_no_mark_services_of_path_probes() -> None:
    key = ServiceKey(AF_INET, IPPROTO_UDP, "192.0.2.101", 514)
    mine, marks = ServiceKey(AF_INET, fwmark=70000), ServiceKey(AF_INET, fwmark=7)
    more = services_of(CONFIG, table(foreign(key, flags=SVC_F_ONEPACKET), foreign(mine), foreign(marks)), None)[3:]
    assert [each.name for each in more] == ["192.0.2.101:514/udp", "fwmark 7"]
    assert (more[0].is_one_packet, more[0].is_configured, more[0].servers[0].forward) == (True, False, "dr")
    assert [key_of(each) for each in more] == [key, marks]


def test_a_table_alone_is_enough() -> None:
    (web, *_) = services_of(None, table(), None)
    assert (web.name, web.is_configured, web.servers[0].configured) == ("192.0.2.100:80/tcp", False, None)


def test_counters_of_both_readings_reach_their_servers() -> None:
    records = [each.record for each in prepare(CONFIG)[0].servers]

    def reading(first: int) -> object:
        rows = [encoded(Statistics(0, 0, 4, 9, number, 2, 0, 0, 0, 0, 0, 0, 0)) for number in (first, 7)]
        return ServiceStatistics(tuple(each.key for each in records), b"".join([rows[0], *rows]))

    services = services_of(CONFIG, table(), None)
    (web, *_) = with_counters(services, {WEB: reading(5)}, {WEB: reading(8)})  # type: ignore[dict-item]
    first, second, _ = web.servers
    assert (first.arrived, first.answered, first.after.persistent) == (3, 0, 4)
    assert (second.arrived, second.before.in_packets) == (0, 7)


LINES = b"""\
TCP C0000202 9C40 C0000264 0050 C633640B 0050 SYN_RECV         57
TCP C0000203 9C41 C0000264 0050 C633640B 0050 SYN_RECV         57
TCP C0000203 9C42 C0000264 0050 C633640C 0050 ESTABLISHED     897
TCP C0000202 0000 C0000264 0050 C633640B 0050 NONE            297
TCP C0000202 9C43 C0000264 0050 C633644D 0050 ESTABLISHED     897
TCP C0000202 9C44 C00002C8 0050 C633640B 0050 SYN_RECV         57
"""


def test_connections_are_counted_by_server() -> None:
    counting = Connections(services_of(CONFIG, table(), None))
    for line in LINES.splitlines():
        counting.take(decode(line))
    first, second, _ = counting.services()[0].servers
    assert (first.half_open, first.established, first.half_open_clients) == (2, 0, ("192.0.2.2", "192.0.2.3"))
    assert (second.half_open, second.established) == (0, 1)
    assert counting.lost == {"web": 1}  # to 198.51.100.77, which is not in the table


def test_connections_that_have_been_silent_for_half_of_the_timeout_are_counted() -> None:
    lines = [
        b"TCP C0000202 9C4%d C0000264 0050 C633640B 0050 ESTABLISHED %7d" % each for each in enumerate((0, 449, 450))
    ]
    lines += [b"TCP C0000202 9C43 C0000264 0050 C633640B 0050 FIN_WAIT          3"]
    for timeout_s, quiet in ((900, 2), (0, 0)):
        counting = Connections(services_of(CONFIG, table(), None), timeout_s)
        for line in lines:
            counting.take(decode(line))
        first, _, _ = counting.services()[0].servers
        assert (first.established, first.quiet) == (3, quiet)


def test_connections_by_firewall_mark_are_found_by_their_server() -> None:
    entry = foreign(ServiceKey(AF_INET, fwmark=7), ForwardingMethod.MASQ)
    counting = Connections(services_of(None, {entry.service.key: entry}, None))
    counting.take(decode(LINES.splitlines()[0]))
    assert counting.services()[0].servers[0].half_open == 1
    assert counting.lost == {}
