"""docs/configuration.md and docs/checks.md agree with the code: keys, defaults and what examples do.

That examples load is shown by tests/docs.
"""

import asyncio
import json
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import (
    Connection,
    DnsCheck,
    ExecCheck,
    GrpcCheck,
    HttpsCheck,
    Kept,
    TcpCheck,
    Tls,
    UdpCheck,
)
from lvs_healthd.config.fleet import FLEET_KEYS
from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.general_keys import BRAKE_KEYS, DAEMON_KEYS
from lvs_healthd.config.ipvs import IPVS_KEYS, SYNC_KEYS, SYSCTL_KEYS
from lvs_healthd.config.load import load
from lvs_healthd.config.model import Brake, Daemon, FallbackServer, Ipvs, MinUp, Pair, Service, SyncDaemon
from lvs_healthd.config.pair import PAIR_KEYS
from lvs_healthd.config.pools import POOL_KEYS
from lvs_healthd.config.schema import (
    CHECK_KEYS,
    FALLBACK_KEYS,
    KEPT_FIELDS,
    REAL_SERVER_KEYS,
    SERVER_KEYS,
    SERVICE_KEYS,
)
from lvs_healthd.config.values import days_text, duration_text
from lvs_healthd.probes.outcome import OutcomeKind
from lvs_healthd.probing.once import run_once
from tests.config.reading import checks_of, errors_of, read, service
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
    servers = {**REAL_SERVER_KEYS, **FALLBACK_KEYS}
    tables: tuple[Iterable[str], ...] = (
        DAEMON_KEYS,
        BRAKE_KEYS,
        PAIR_KEYS,
        FLEET_KEYS,
        *ipvs,
        service,
        POOL_KEYS,
        servers,
        CHECK_KEYS,
    )
    assert sorted(key for key, _ in DOCUMENTED) == sorted(key for table in tables for key in table)


TABLES = {"environment", "headers", "expect_headers", "expect_headers_regex", "json"}
"""The fields that are tables in the file."""


def test_documented_defaults_are_the_defaults() -> None:
    defaults: dict[str, set[str]] = {}
    for record in (
        Daemon,
        Brake,
        Pair,
        Fleet,
        Ipvs,
        SyncDaemon,
        Service,
        FallbackServer,
        HttpsCheck,
        TcpCheck,
        UdpCheck,
        DnsCheck,
        GrpcCheck,
        ExecCheck,
        Tls,
        Kept,
    ):
        for field in msgspec.structs.fields(record):
            value = field.default
            durations = {"interval", "timeout", "resync", "persistence", "within", "slow_start"}
            durations |= {"track_after", "track_back", "announce_after", "withdraw_after", *KEPT_FIELDS}
            text = f'"{duration_text(value)}"' if field.name in durations else spell(value)
            text = f'"{days_text(value)}"' if field.name in {"expires_within", "expires_fail"} else text
            text = f'"{value}%"' if field.name in {"share", "reload_guard"} else text
            text = '"5m"' if field.name == "longest" and value == 300 else text
            text = "{}" if field.name in TABLES else text
            text = str(value.count) if isinstance(value, MinUp) else text
            defaults.setdefault(field.name, set()).add(f"`{text}`")
    defaults["connection"] = {f'`"{Connection.NEW}"`'}  # of the key, which is no field
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
        case (int() as first, int() as last):
            return f'"{first}-{last}"'
        case (str(), *_):
            return json.dumps(list(value))
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
    blocks = re.findall(r"```toml\n(description = \"An SMTP.*?)```", CHECKS, re.DOTALL)
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


DNS_EXAMPLES = re.findall(r"^check = (\{ type = \"dns\".*\})$", CHECKS, re.MULTILINE)


@pytest.mark.parametrize("example", DNS_EXAMPLES)
def test_dns_example_is_a_check(example: str) -> None:
    (check,) = checks_of(service(check=example))
    assert isinstance(check, DnsCheck)


def test_dns_examples_are_found() -> None:
    assert len(DNS_EXAMPLES) == 2


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


MIGRATION = CHECKS.partition("## Coming from mon")[2].partition("\n## ")[0]
WRITTEN_INSTEAD = re.findall(r"`(\{ type = [^`]*\})`", MIGRATION)


def test_every_monitor_of_the_three_programs_is_named() -> None:
    assert len(WRITTEN_INSTEAD) >= 40
    for checker in ("TCP", "UDP", "DNS", "PING", "SMTP", "MISC", "FILE", "BFD"):
        assert f"{checker}_CHECK" in MIGRATION


@pytest.mark.parametrize("check", WRITTEN_INSTEAD)
def test_what_to_write_instead_is_a_check(check: str) -> None:
    assert len(checks_of(service(check=check))) == 1
