"""Name servers (BIND, NSD, Knot, unbound), OpenLDAP and the SNMP agent."""

import getpass
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.config.check_model import AnyCheck
from tests.ready_made.checks import hasty, ready_made, wait_until_up
from tests.ready_made.conftest import Tried
from tests.ready_made.servers import free_port, running, unpacked

ZONE = """\
@ 3600 IN SOA ns.example.org. root.example.org. 1 3600 600 86400 300
@ 3600 IN NS ns.example.org.
@ 3600 IN A 192.0.2.1
ns 3600 IN A 192.0.2.1
"""
BROKEN_ZONE = "@ 3600 IN SOA this is not a zone\n"


Command = Callable[..., list[str | Path]]


def bind(port: int, directory: Path, *statements: str) -> list[str | Path]:
    (directory / "named.conf").write_text(
        f'options {{ directory "{directory}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};'
        f' pid-file "{directory}/pid"; session-keyfile "{directory}/key"; dnssec-validation no; empty-zones-enable no;'
        f" {' '.join(statements)} }}; controls {{ }};\n"
    )
    return ["named", "-g", "-c", directory / "named.conf"]


def bind_for_example(port: int, directory: Path, zone: str) -> list[str | Path]:
    (directory / "zone").write_text(zone)
    command = bind(port, directory, "recursion no;")
    with (directory / "named.conf").open("a") as configuration:
        configuration.write('zone "example.org" { type primary; file "zone"; };\n')
    return command


def nsd(port: int, directory: Path, zone: str, *, address: str = "127.0.0.1") -> list[str | Path]:
    (directory / "zone").write_text(zone)
    (directory / "nsd.conf").write_text(
        f'server:\n ip-address: {address}@{port}\n zonesdir: "{directory}"\n username: "{getpass.getuser()}"\n'
        f' database: ""\n pidfile: "{directory}/pid"\n xfrdfile: "{directory}/xfrd"\n xfrdir: "{directory}"\n'
        f' zonelistfile: "{directory}/list"\n'
        'remote-control:\n control-enable: no\nzone:\n name: "example.org"\n zonefile: "zone"\n'
    )
    return ["nsd", "-d", "-c", directory / "nsd.conf"]


def knot(port: int, directory: Path, zone: str) -> list[str | Path]:
    (directory / "zone").write_text(zone)
    (directory / "knot.conf").write_text(
        f'server:\n  listen: "127.0.0.1@{port}"\n  rundir: "{directory}"\ndatabase:\n  storage: "{directory}"\n'
        f'zone:\n  - domain: example.org\n    storage: "{directory}"\n    file: "zone"\n'
        "log:\n  - target: stderr\n    any: info\n"
    )
    return ["knotd", "-c", directory / "knot.conf"]


def authority(port: int, over: str = "udp") -> AnyCheck:
    """Return the check of an authoritative server that docs/checks.md shows."""
    check = ready_made("dns-resolver", port, over=over, query_type="SOA", authoritative=True)
    return msgspec.structs.replace(check, name="dns")


AUTHORITATIVE = {"bind9": bind_for_example, "nsd": nsd, "knot": knot}


@pytest.mark.parametrize("package", AUTHORITATIVE)
def test_dns(tried: Tried, port: int, tmp_path: Path, package: str) -> None:
    check = authority(port)
    with running(AUTHORITATIVE[package](port, tmp_path, ZONE), tmp_path) as server:
        wait_until_up(authority(port, "tcp"))
        tried.life(check, package, server)
    with running(AUTHORITATIVE[package](port, tmp_path, BROKEN_ZONE), tmp_path):
        tried.down_soon(check, package, "its zone is broken", "answer")


def test_dns_server_that_only_resolves_is_no_authority(tried: Tried, port: int, tmp_path: Path) -> None:
    with running(unbound(port, tmp_path, 'local-data: "example.org. 300 A 192.0.2.1"'), tmp_path):
        wait_until_up(ready_made("dns-resolver", port))
        tried.down(authority(port), "unbound", "it is a resolver", "answer")


def unbound(port: int, directory: Path, *settings: str) -> list[str | Path]:
    (directory / "unbound.conf").write_text(
        f'server:\n interface: 127.0.0.1@{port}\n do-daemonize: no\n username: ""\n chroot: ""\n pidfile: ""\n'
        f' directory: "{directory}"\n use-syslog: no\n module-config: "iterator"\n'
        + "".join(f" {setting}\n" for setting in settings)
        + "remote-control:\n control-enable: no\n"
    )
    return ["unbound", "-d", "-c", directory / "unbound.conf"]


def unbound_behind(port: int, directory: Path, upstream: int) -> list[str | Path]:
    command = unbound(port, directory, "do-not-query-localhost: no")
    with (directory / "unbound.conf").open("a") as configuration:
        configuration.write(f'forward-zone:\n name: "."\n forward-addr: 127.0.0.1@{upstream}\n')
    return command


def bind_behind(port: int, directory: Path, upstream: int) -> list[str | Path]:
    return bind(port, directory, f"recursion yes; forward only; forwarders {{ 127.0.0.1 port {upstream}; }};")


@pytest.mark.parametrize(("package", "command"), [("unbound", unbound_behind), ("bind9", bind_behind)])
def test_dns_resolver(tried: Tried, port: int, tmp_path: Path, package: str, command: Command) -> None:
    check = ready_made("dns-resolver", port)
    upstream = free_port()
    (tmp_path / "above").mkdir()
    with running(knot(upstream, tmp_path / "above", ZONE), tmp_path / "above") as above:
        wait_until_up(authority(upstream))
        with running(command(port, tmp_path, upstream), tmp_path) as server:
            tried.life(check, package, server)
        above.kill()
    with running(command(port, tmp_path, upstream), tmp_path):
        tried.down_soon(check, package, "it reaches no other server", "answer")


# ---- OpenLDAP --------------------------------------------------------------------------------------------------------


def slapd(port: int, directory: Path, *statements: str) -> list[str | Path]:
    modules, schema = unpacked("lib/ldap"), unpacked("../etc/ldap/schema/core.schema")
    (directory / "slapd.conf").write_text(
        f"include {schema}\nmodulepath {modules}\nmoduleload back_mdb\npidfile {directory}/pid\n"
        + "".join(f"{statement}\n" for statement in statements)
        + f"database mdb\nsuffix dc=example,dc=org\ndirectory {directory}\n"
    )
    return ["slapd", "-f", directory / "slapd.conf", "-h", f"ldap://127.0.0.1:{port}", "-d", "0"]


@pytest.mark.parametrize("name", ["ldap", "ldap-rootdse"])
def test_ldap(tried: Tried, tmp_path: Path, name: str) -> None:
    check = ready_made(name, free_port())
    with running(slapd(check.port, tmp_path), tmp_path) as server:
        tried.up(check, "slapd", "its database is empty")
        tried.life(check, "slapd", server)


def test_ldap_that_forbids_anonymous_binds(tried: Tried, tmp_path: Path) -> None:
    check = ready_made("ldap", free_port())
    with running(slapd(check.port, tmp_path, "disallow bind_anon"), tmp_path):
        tried.down_soon(check, "slapd", "forbids anonymous binds")
        tried.up(ready_made("ldap-rootdse", check.port), "slapd", "forbids anonymous binds")


def test_ldap_root_entry_that_nobody_may_read_is_down(tried: Tried, tmp_path: Path) -> None:
    check = ready_made("ldap-rootdse", free_port())
    with running(slapd(check.port, tmp_path, "require authc"), tmp_path):
        tried.down_soon(check, "slapd", "answers nobody before a login")


# ---- SNMP ------------------------------------------------------------------------------------------------------------


def snmpd(port: int, directory: Path, access: str) -> list[str | Path]:
    (directory / "snmpd.conf").write_text(f"agentaddress udp:127.0.0.1:{port}\n{access}\n")
    return ["snmpd", "-f", "-LEw", "-C", "-c", directory / "snmpd.conf", "-I", "-smux"]


def test_snmp(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("snmp", port)
    with running(snmpd(port, tmp_path, "rocommunity public 127.0.0.1"), tmp_path) as server:
        tried.life(check, "snmpd", server)
    with running(snmpd(port, tmp_path, "rocommunity secret 127.0.0.1"), tmp_path):
        tried.down_soon(hasty(check), "snmpd", "knows another community")
