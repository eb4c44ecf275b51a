"""Tables written as ipvsadm's text and read back."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.importers.ipvsadm import CommandError, table_of
from lvs_healthd.ipvs.records import ServiceEntry, ServiceKey, ServiceRecord, Table
from lvs_healthd.ipvs.saved import saved
from lvs_healthd.ipvs.words import (
    AF_INET,
    AF_INET6,
    IPPROTO_SCTP,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SVC_F_ONEPACKET,
    SVC_F_PERSISTENT,
    ForwardingMethod,
)
from tests.config.documents import PATIENT
from tests.ipvs.tables import DNS, WEB, entry, server, service, table

HTTPS = ServiceKey(AF_INET, IPPROTO_TCP, "203.0.113.10", 443)


def text_of(table: Table) -> str:
    return "".join(saved(table))


def back(text: str) -> Table:
    return table_of(text.splitlines(), "saved")


def test_examples_of_ipvsadm_s_own() -> None:
    sticky = service(HTTPS, "sh", flags=SVC_F_PERSISTENT | 0x18, timeout=300, netmask=24)
    dns = service(DNS, "rr", flags=SVC_F_ONEPACKET)
    mark = service(ServiceKey(AF_INET6, fwmark=7), "wlc")
    gue = server(
        "2001:db8::a", port=0, forward=ForwardingMethod.TUNNEL, tunnel_type=1, tunnel_port=6080, tunnel_flags=1
    )
    made = table(entry(mark, gue), entry(dns), entry(sticky, server("10.0.0.2", 5, port=443)))
    assert text_of(made) == (
        "-A -t 203.0.113.10:443 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port\n"
        "-a -t 203.0.113.10:443 -r 10.0.0.2:443 -m -w 5\n"
        "-A -u [2001:db8::53]:53 -s rr -o\n"
        "-A -f 7 -6 -s wlc\n"
        "-a -f 7 -6 -r [2001:db8::a]:0 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum\n"
    )
    assert back(text_of(made)) == made


def test_thresholds_are_written_unless_they_are_not_wanted() -> None:
    made = table(entry(service(), server("10.0.0.2", upper_threshold=100, lower_threshold=50)))
    assert text_of(made).endswith(" -w 1 -x 100 -y 50\n")
    assert "".join(saved(made, thresholds=False)).endswith(" -w 1\n")
    assert back(text_of(made)) == made


def test_service_that_goes_while_it_is_written_is_left_out() -> None:
    made = table(entry(service(WEB)), entry(service(HTTPS)))
    writing = saved(made)
    assert next(writing).startswith("-A -t 192.0.2.100:80")
    del made[HTTPS]
    assert list(writing) == []


_keys = st.one_of(
    st.builds(
        ServiceKey,
        st.just(AF_INET),
        st.sampled_from([IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP]),
        st.sampled_from(["192.0.2.1", "192.0.2.200"]),
        st.integers(0, 65535),
    ),
    st.builds(ServiceKey, st.just(AF_INET6), st.just(IPPROTO_TCP), st.just("2001:db8::1"), st.integers(0, 65535)),
    st.builds(ServiceKey, st.sampled_from([AF_INET, AF_INET6]), fwmark=st.integers(1, 2**32 - 1)),
)


@st.composite
def _entries(draw: st.DrawFn, key: ServiceKey) -> ServiceEntry:
    bits = 128 if key.family == AF_INET6 else 32
    is_persistent = draw(st.booleans())
    masks = st.integers(1, bits) if key.family == AF_INET6 else st.integers(0, bits) | st.just(-0xFF00FF00)
    record = ServiceRecord(
        key,
        draw(st.sampled_from(["rr", "wlc", "sh", "mh", "dh"])),
        flags=draw(st.sampled_from([0, 4, 8, 0x10, 0x20, 0x3C])) | (SVC_F_PERSISTENT if is_persistent else 0),
        timeout=draw(st.integers(1, 2**31 - 1)) if is_persistent else 0,
        netmask=draw(masks) if is_persistent else bits,
        persistence_engine=draw(st.sampled_from(["", "sip"])),
    )
    servers = []
    for number in range(draw(st.integers(0, 3))):
        forward = draw(st.sampled_from([ForwardingMethod.MASQ, ForwardingMethod.TUNNEL, ForwardingMethod.DROUTE]))
        port = draw(st.integers(0, 65535)) if forward is ForwardingMethod.MASQ else key.port
        tunnel = {}
        if forward is ForwardingMethod.TUNNEL:
            tunnel = draw(
                st.sampled_from(
                    [
                        {},
                        {"tunnel_type": 2, "tunnel_flags": 1},
                        {"tunnel_type": 1, "tunnel_port": 6080, "tunnel_flags": 2},
                    ]
                )
            )
        upper, lower = draw(st.sampled_from([(0, 0), (10, 0), (10, 5)]))
        limits = {"upper_threshold": upper, "lower_threshold": lower}
        address = draw(st.sampled_from(["10.0.0.{}", "2001:db8::1:{}"])).format(number)
        servers.append(server(address, draw(st.integers(0, 65535)), port=port, forward=forward, **limits, **tunnel))
    return entry(record, *servers)


_tables = st.lists(_keys, unique=True, max_size=4).flatmap(
    lambda keys: st.tuples(*[_entries(key) for key in keys]).map(lambda entries: table(*entries))
)


@PATIENT
@given(_tables)
def test_what_is_written_reads_back(made: Table) -> None:
    assert back(text_of(made)) == made


def test_scripts_and_files_from_elsewhere_are_understood() -> None:
    text = """
# ipvsadm.rules
ipvsadm -C
/sbin/ipvsadm --add-service --tcp-service 192.0.2.1:http --scheduler=wrr -p
ipvsadm -E -t 192.0.2.1:80 -s wrr -p 300 -b
ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1 -m -w5   # a comment
ipvsadm -a -r 10.0.0.2:8080 -m -t 192.0.2.1:80 --weight 7 -x 10
-A -u 192.0.2.1:53
-a -u 192.0.2.1:53 -r 10.0.0.3
-a -u 192.0.2.1:53 -r 10.0.0.4:53 -g
-d -u 192.0.2.1:53 -r 10.0.0.4:53
-e -u 192.0.2.1:53 -r 10.0.0.3:53 -i
-A -f 3
-D -f 3
-E -u 192.0.2.1:53 -s rr -o
"""
    web = ServiceKey(AF_INET, IPPROTO_TCP, "192.0.2.1", 80)
    dns = ServiceKey(AF_INET, IPPROTO_UDP, "192.0.2.1", 53)
    assert back(text) == table(
        entry(
            service(web, "wrr", flags=SVC_F_PERSISTENT, timeout=300),
            server("10.0.0.1", 5),
            server("10.0.0.2", 7, port=8080, upper_threshold=10),
        ),
        entry(service(dns, "rr", flags=SVC_F_ONEPACKET), server("10.0.0.3", port=53, forward=ForwardingMethod.TUNNEL)),
    )


def test_names_are_looked_up() -> None:
    found = back("-A -t localhost:domain")
    (key,) = found
    assert key.address in {"127.0.0.1", "::1"}
    assert key.port == 53


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("-A -t 192.0.2.1:80 -q", "-q is not understood here"),
        ("-A", "expected one service: -t, -u, --sctp-service or -f"),
        ("-A -t 192.0.2.1:80 -u 192.0.2.1:80", "expected one service: -t, -u, --sctp-service or -f"),
        ("-t 192.0.2.1:80", "no command: expected -A, -E, -D, -C, -a, -e or -d"),
        ("-A -a -t 192.0.2.1:80", "two commands in one line: -A and -a"),
        ("-a -t 192.0.2.1:80 -r 10.0.0.1", "service 192.0.2.1:80/tcp does not exist; add it first (-A)"),
        ("-E -t 192.0.2.1:80", "service 192.0.2.1:80/tcp does not exist"),
        ("-A -t 192.0.2.1:99999", "expected a port of 0..65535, got '99999'"),
        ("-A -t 192.0.2.1:nonsense", "'nonsense' is neither a port nor a known service name"),
        ("-A -f -2147483649", "-f: expected 1..4294967295, got '-2147483649'"),
        ("-Ax -t 192.0.2.1:80", "'192.0.2.1:80' is not an option"),
        ("-A -t 192.0.2.1:80\0", "it holds a NUL byte"),
        (f"-a -t 192.0.2.9:80 -r 10.0.0.1 -w {'9' * 5000}", f"-w: expected 0..2147483647, got '{'9' * 80}…'"),
        (f"-A -t 192.0.2.1:{'9' * 5000}", f"expected a port of 0..65535, got '{'9' * 80}…'"),
        ("-A -f 0", "-f: expected 1..4294967295, got '0'"),
        ("-A -f 7 -M 300.1.1.1", "-M: expected a mask such as 255.255.255.0, got '300.1.1.1'"),
        ("-A -f 7 -6 -M 129", "-M: expected 1..128, got '129'"),
        ("-A -f 7 -s rr -b sh-port", "scheduler rr has no flag 'sh-port'"),
        ("-A -t", "-t without a value"),
        ("-A -t '192.0.2.1:80", "not a command line: No closing quotation"),
        ("A -t 192.0.2.1:80", "'A' is not an option"),
    ],
)
def test_wrong_line_is_reported_with_its_number(line: str, error: str) -> None:
    with pytest.raises(CommandError) as caught:
        table_of(["-A -t 192.0.2.9:80", line], "rules")
    assert caught.value.errors == (f"rules:2: {error}",)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("-A -f -2147483641", ServiceKey(AF_INET, fwmark=2147483655)),
        ("-A -f -1", ServiceKey(AF_INET, fwmark=4294967295)),
        ("-At 192.0.2.1:80", ServiceKey(AF_INET, IPPROTO_TCP, "192.0.2.1", 80)),
        ("-Anf7", ServiceKey(AF_INET, fwmark=7)),
    ],
)
def test_service_as_ipvsadm_and_people_write_it(line: str, key: ServiceKey) -> None:
    assert list(table_of([line], "rules")) == [key]


def test_all_wrong_lines_are_reported_at_once() -> None:
    with pytest.raises(CommandError) as caught:
        table_of(["-A -t 192.0.2.9:80", "-A -t 192.0.2.9:80", "-a -t 192.0.2.9:80", "-x"], "rules")
    assert len(caught.value.errors) == 3


@PATIENT
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=30), max_size=4))
def test_anything_else_is_an_error_and_no_traceback(lines: list[str]) -> None:
    prefixed = [f"-A -t {line}" if index % 2 else line for index, line in enumerate(lines)]
    lookups_left_out = [line for line in prefixed if not any(letter.isalpha() for letter in line[4:])]
    with contextlib.suppress(CommandError):
        table_of(lookups_left_out, "any")


def test_record_of_a_method_that_ipvsadm_cannot_set() -> None:
    odd = msgspec.structs.replace(server("10.0.0.1"), forward=ForwardingMethod.LOCAL)
    assert " -g " in text_of(table(entry(service(), odd)))
