"""docs/configuration.md and docs/checks.md agree with the code: keys, defaults and examples."""

import asyncio
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.config.ipvs import IPVS_KEYS, SYNC_KEYS, SYSCTL_KEYS
from lvs_healthd.config.load import load
from lvs_healthd.config.model import (
    Daemon,
    HttpsCheck,
    Ipvs,
    RealServer,
    Seconds,
    Service,
    SyncDaemon,
    TcpCheck,
)
from lvs_healthd.config.patterns import answer_pattern
from lvs_healthd.config.schema import CHECK_KEYS, DAEMON_KEYS, REAL_SERVER_KEYS, SERVER_KEYS, SERVICE_KEYS
from lvs_healthd.config.values import duration_text
from lvs_healthd.probes.outcome import OutcomeKind
from lvs_healthd.probing.once import run_once
from tests.config.reading import errors_of, read, service
from tests.probes.peers import stream_server

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "configuration.md").read_text()
CHECKS = (DOCS / "checks.md").read_text()
ROWS = re.findall(r"^\| (`[^|]*`) \|([^|]*)\|", REFERENCE, re.MULTILINE)
DOCUMENTED = [(key, default.strip()) for keys, default in ROWS for key in re.findall(r"`([a-z_]+)`", keys)]


SHOWN_SYSCTLS = {
    *("expire_nodest_conn", "expire_quiescent_template", "conntrack", "conn_reuse_mode"),
    *("est_cpulist", "est_nice", "conn_lfactor", "svc_lfactor", "conn_max"),
}


def test_sysctls_shown_are_among_those_there_are() -> None:
    assert set(SYSCTL_KEYS) > SHOWN_SYSCTLS


def test_every_key_is_documented_and_no_other() -> None:
    # The documentation of a service names `forward`, and refers to its servers for the other keys that they inherit.
    service = SERVICE_KEYS.keys() - (SERVER_KEYS.keys() - {"forward"})
    ipvs = ({*IPVS_KEYS}, {*SYNC_KEYS}, SHOWN_SYSCTLS)
    tables: tuple[Iterable[str], ...] = (DAEMON_KEYS, *ipvs, service, REAL_SERVER_KEYS, CHECK_KEYS)
    assert sorted(key for key, _ in DOCUMENTED) == sorted(key for table in tables for key in table)


def test_documented_defaults_are_the_defaults() -> None:
    defaults: dict[str, set[str]] = {}
    for record in (Daemon, Ipvs, SyncDaemon, Service, RealServer, HttpsCheck, TcpCheck):
        for field in msgspec.structs.fields(record):
            value = field.default
            durations = {"interval", "timeout", "resync", "persistence"}
            text = f'"{duration_text(value)}"' if field.name in durations else spell(value)
            text = "{}" if field.name == "headers" else text  # it is a table in the file
            defaults.setdefault(field.name, set()).add(f"`{text}`")
    plain = [(key, default) for key, default in DOCUMENTED if default.startswith("`")]
    assert len(plain) > 20
    for key, default in plain:
        field_name = CHECK_KEYS[key].field or key if key in CHECK_KEYS else key
        assert default in defaults[field_name], key


def spell(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case b"":
            return '""'
        case ((200, 299),):
            return '["200-299"]'
        case ():
            return "[]"
        case _:
            return str(value)


EXAMPLES = [
    block for block in re.findall(r"```toml\n(.*?)```", REFERENCE, re.DOTALL) if block.startswith("[[service]]")
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_load(example: str) -> None:
    assert read(example).services[0].real_servers


def test_inheritance_example_does_what_its_comments_say() -> None:
    (example,) = (example for example in EXAMPLES if "# both checks" in example)
    servers = read(example).services[0].real_servers
    assert [[(check.name, check.timeout) for check in server.checks] for server in servers] == [
        [("tcp", 1.0), ("http", 1.0)],
        [("tcp", 3.0), ("http", 3.0)],
        [("tcp", 1.0), ("http", 1.0)],
        [("tcp", 1.0), ("http", 1.0), ("ssh", 1.0)],
    ]
    assert getattr(servers[2].checks[1], "path", "") == "/slow"


def test_example_of_ranges_and_protocols_does_what_it_says() -> None:
    (example,) = (example for example in EXAMPLES if "shorter" in example)
    services = read(example).services
    assert [service.name for service in services][:2] == ["dns 192.0.2.53/udp", "dns 192.0.2.53/tcp"]
    assert [len(service.real_servers) for service in services] == [10] * 4


def smtp_example(tmp_path: Path) -> TcpCheck:
    blocks = re.findall(r"```toml\n(description.*?)```", CHECKS, re.DOTALL)
    assert len(blocks) == 1
    directory = tmp_path / "checks"
    directory.mkdir()
    (directory / "smtp.toml").write_text(blocks[0])
    file = tmp_path / "config.toml"
    file.write_text('[[service]]\naddress = "192.0.2.1:25"\ncheck = "smtp"\nreal_server = ["198.51.100.1"]\n')
    [check] = load(file).services[0].real_servers[0].checks
    assert isinstance(check, TcpCheck)
    return check


def test_example_of_a_ready_made_check_is_one(tmp_path: Path) -> None:
    assert smtp_example(tmp_path).name == "smtp"


@pytest.mark.parametrize(
    ("greeting", "is_up"),
    [
        (b"220 mail.example.org ESMTP Postfix\r\n", True),
        (b"220-mail.example.org ESMTP Exim\r\n220 no spam\r\n", True),
        (b"421 Too many concurrent SMTP connections; please try again later.\r\n", False),
        (b"554 5.7.1 no service, not even a 220 \r\n", False),
    ],
)
async def test_smtp_example_takes_a_greeting_and_does_not_speak_before_it(
    greeting: bytes, is_up: bool, tmp_path: Path
) -> None:
    """Postfix 3.9 refuses a client that does, however healthy it is."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(0.05):
                early = await reader.read(1)
        except TimeoutError:
            early = b""
        writer.write(b"554 5.5.0 Error: SMTP protocol synchronization\r\n" if early else greeting)
        writer.write_eof()
        await reader.read()

    async with stream_server(greet) as port:
        check = msgspec.structs.replace(smtp_example(tmp_path), address="127.0.0.1", port=port, timeout=Seconds(10.0))
        (found,) = (await run_once([check])).values()
    assert (found.outcome.kind is OutcomeKind.UP) is is_up, found.outcome.detail


DNS_CHECKS = re.findall(
    r'^send_hex = "((?:001d +)?002a [^"]*)"\nexpect_regex = \'([^\']*)\'',
    "\n".join((REFERENCE, CHECKS, (DOCS.parent / "config.example.toml").read_text())),
    re.MULTILINE,
)
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
"""RFC 1035, section 4.1.1: RCODE."""


def test_all_dns_examples_are_found() -> None:
    assert len(DNS_CHECKS) == 5


@pytest.mark.parametrize(("query", "pattern"), DNS_CHECKS)
def test_dns_example_asks_as_it_says_and_takes_no_error_for_an_answer(query: str, pattern: str) -> None:
    sent = bytes.fromhex(query)
    is_tcp = sent[:2] == b"\x00\x1d"
    if is_tcp:
        assert int.from_bytes(sent[:2]) == len(sent[2:])
        sent = sent[2:]
    header, name, kind = sent[:12], sent[12:-4], sent[-4:]
    wants_recursion = header[2] == 1
    assert (header[:2], header[3:], name) == (b"\x00\x2a", b"\0\0\1" + bytes(6), b"\7example\3org\0")
    assert kind == (b"\0\1\0\1" if wants_recursion else b"\0\6\0\1")  # A, SOA

    def takes(code: int, *, is_authoritative: bool) -> bool:
        flags = bytes((0x80 | is_authoritative << 2 | wants_recursion, wants_recursion << 7 | code))
        answer = sent[:2] + flags + sent[4:]
        return answer_pattern(pattern).is_in(len(answer).to_bytes(2) + answer if is_tcp else answer)

    assert takes(NOERROR, is_authoritative=not wants_recursion)
    assert takes(NOERROR, is_authoritative=False) is wants_recursion  # a referral is no answer of an authority
    for code in (SERVFAIL, NXDOMAIN, REFUSED):
        assert not takes(code, is_authoritative=False)
        assert not takes(code, is_authoritative=True)


def test_error_messages_shown_are_real() -> None:
    text = "\n\n\n[defaults.check]\ninterval = 2\n\n\n\n[[service]]\nname = 'web'\n"
    text += "address = '192.0.2.1:80'\ncheck = 'tcp'\n"
    text += "real_server = ['198.51.100.1',\n{ address = '198.51.100.2', weight = -2 }]\n"
    shown = re.findall(r"^config\.toml:.*$", REFERENCE, re.MULTILINE)
    assert [error.replace("c.toml", "config.toml", 1) for error in errors_of(text)] == shown


def test_remark_shown_is_real() -> None:
    text = "\n" * 5 + service(check='{ type = "tcp", timeout = "3s" }')
    shown = re.findall(r"^remark: (config\.toml:.*)$", REFERENCE, re.MULTILINE)
    assert [remark.replace("c.toml", "config.toml", 1) for remark in read(text).remarks] == shown
