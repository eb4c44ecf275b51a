"""Reads the entries of `real_server` and `fallback` into records, each with checks that probe that server."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from lvs_healthd.config import checks, path_rules
from lvs_healthd.config.addresses import ServerAddresses, server_addresses
from lvs_healthd.config.basics import Endpoint, Family, Protocol
from lvs_healthd.config.build import build
from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.check_ways import DataPath
from lvs_healthd.config.errors import Errors, WrongValueError, expected
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import TRANSLATING, FallbackServer, Forward, RealServer
from lvs_healthd.config.schema import FALLBACK_KEYS, REAL_SERVER_KEYS, SERVER_KEYS, Key, TomlTable, read_table
from lvs_healthd.config.template import Template

NO_CHECK = 'no check; the simplest is check = { type = "tcp" }'


NOWHERE = {Family.IPV4: Endpoint("0.0.0.0", 0), Family.IPV6: Endpoint("::", 0)}  # noqa: S104  # nobody binds
"""Stands for the addresses of servers that a source lists: no server can have it."""


class Surroundings(msgspec.Struct, frozen=True):
    """What a service passes on to its servers.

    A value that is wrong is None or left out; its error has already been reported.
    """

    endpoint: Endpoint | None
    """The service's address and port; None for a firewall mark."""
    protocol: Protocol
    """The service's transport. Means nothing for a firewall mark."""
    portless: str
    """The reason why packets keep the port they came with, so that servers have no port of their own: "a firewall mark"
    or "port 0". Empty when servers have ports."""
    maps_ports: bool
    """Whether a server behind a firewall mark may still name a port, to which nat and fullnat then translate."""
    handed_down: Mapping[str, Any]
    """The service's values of `SERVER_KEYS`."""
    wrong: frozenset[str]
    """The `SERVER_KEYS` whose values are wrong. Their errors have already been reported."""
    checks: tuple[Template, ...]
    """The service's checks, without those that are wrong."""
    has_checks: bool
    """Whether the service has any checks, right or wrong."""
    checks_are_right: bool
    """Whether all of the service's checks are right, and therefore in `checks`."""


class Placed(msgspec.Struct, frozen=True):
    """A server and where it was written in the file, for the rules that compare servers."""

    server: RealServer
    path: KeyPath
    """Where the server's address is in the file."""
    table: TomlTable
    """The server's own table."""
    wrong: frozenset[str]
    """The server's own and inherited `SERVER_KEYS` whose values are wrong. Their errors have already been reported."""


def _as_fallback(server: RealServer, tier: int) -> FallbackServer:
    return FallbackServer(**{field: getattr(server, field) for field in RealServer.__struct_fields__}, tier=tier)


class ServerReader:
    """Reads the servers of one service."""

    def __init__(self, around: Surroundings, reader: checks.CheckReader, errors: Errors) -> None:
        self._around = around
        self._reader = reader
        self._errors = errors
        # Computed once for all servers that are written as a bare address, without a table.
        self._handed_down = self._own(TomlTable((), {}, {}))

    def real_servers(self, written: object, path: KeyPath) -> list[Placed]:
        """Read `real_server`: a list of addresses and tables, or [[service.real_server]] tables."""
        return [placed for placed, _ in self._read(written, path, REAL_SERVER_KEYS)]

    def fallback(self, written: object, path: KeyPath) -> list[tuple[Placed, FallbackServer]]:
        """Read `fallback`, which is like `real_server`, but does not inherit the service's checks."""
        placed = self._read(written, path, FALLBACK_KEYS)
        return [(each, _as_fallback(each.server, tier)) for each, tier in placed]

    def pattern(self, family: Family) -> RealServer:
        """Return a server as a source lists it: with what the service passes on, and `NOWHERE` for its address."""
        around, endpoint = self._around, NOWHERE[family]
        virtual, fields = None if around.portless else around.endpoint, self._handed_down[0]
        checks = []
        for template in around.checks:
            path = None
            if path_rules.goes_through(template) and around.endpoint is not None:
                path = path_rules.path_to(around.endpoint, around.protocol, endpoint, fields)
            checks.append(build(template, endpoint, virtual, path))
        return RealServer(endpoint=endpoint, checks=tuple(checks), **fields)

    def _read(self, written: object, path: KeyPath, keys: Mapping[str, Key]) -> list[tuple[Placed, int]]:
        """Read a list of servers. Return each with its tier, which is 1 for a real server."""
        if not isinstance(written, list):
            self._errors.add_all(path, expected('a list such as ["198.51.100.11:80"]', written))
            return []
        return [server for index, entry in enumerate(written) for server in self._entry(entry, (*path, index), keys)]

    def _entry(self, entry: object, path: KeyPath, keys: Mapping[str, Key]) -> Iterator[tuple[Placed, int]]:
        """Read one entry: a server, or a range of addresses, each of which becomes a server."""
        if isinstance(entry, str):
            table = TomlTable(path, {}, {})
            address_path = path
            try:
                table.values["endpoint"] = server_addresses(entry)
            except WrongValueError as error:
                self._errors.add_all(path, error)
        elif isinstance(entry, dict):
            table = read_table(entry, path, keys, self._errors)
            address_path = table.at("endpoint")
            if "endpoint" not in table:
                self._errors.add(path, 'address is missing: address = "198.51.100.11:80"')
        else:
            self._errors.add_all(path, expected("an address, or a table with one", entry))
            return
        templates = self._templates(table) if keys is REAL_SERVER_KEYS else self._own_templates(table)
        fields, wrong = self._own(table) if table.written else self._handed_down
        for endpoint in self._endpoints(table.values.get("endpoint"), address_path, fields):
            checks = tuple([self._aim(template, endpoint, fields) for template in templates])
            server = RealServer(endpoint=endpoint, checks=checks, **fields)
            yield Placed(server, address_path, table, wrong), table.values.get("tier", 1)

    def _own(self, table: TomlTable) -> tuple[dict[str, Any], frozenset[str]]:
        """Return the own and inherited fields of a server, and the names of the fields that are wrong."""
        own = {field: value for field, value in table.values.items() if field in SERVER_KEYS or field == "weight"}
        wrong = {field for field in SERVER_KEYS if table.is_wrong(field)}
        wrong |= {field for field in self._around.wrong if field not in table}
        return self._inherited(table) | own, frozenset(wrong)

    def _inherited(self, table: TomlTable) -> dict[str, Any]:
        """Return the fields that a server inherits from its service.

        A field that the server overrides is left out, and so are the fields that belong to it. For example, a server
        with its own `tun_type` does not inherit the service's `tun_port`.
        """
        around = self._around
        dropped = set(table.written)
        if table.values.get("forward", around.handed_down.get("forward")) is not Forward.TUN:
            dropped |= {"tun_type", "tun_port", "tun_checksum"}
        if "tun_type" in table:
            dropped |= {"tun_port", "tun_checksum"}
        if "upper_threshold" in table:
            dropped.add("lower_threshold")
        return {field: value for field, value in around.handed_down.items() if field not in dropped}

    def _templates(self, table: TomlTable) -> tuple[Template, ...]:
        if "check" not in table:
            if not self._around.has_checks:
                self._errors.add(table.path, NO_CHECK)
            return self._around.checks
        written, path = table.values["check"], table.at("check")
        if self._around.checks_are_right:
            return self._reader.read(written, path, self._around.checks)
        self._reader.read_values(written, path)
        return ()

    def _own_templates(self, table: TomlTable) -> tuple[Template, ...]:
        """Read the checks of a fallback server."""
        if "check" not in table:
            return ()
        templates = self._reader.read(table.values["check"], table.at("check"))
        through = [template for template in templates if path_rules.goes_through(template)]
        for template in through:
            self._errors.add(template.path, "a fallback server has no way through the service until it serves")
        return tuple(template for template in templates if template not in through)

    def _endpoints(
        self, written: ServerAddresses | None, path: KeyPath, fields: Mapping[str, Any]
    ) -> tuple[Endpoint, ...]:
        if written is None:
            return ()
        around, port = self._around, written.port
        if around.portless:
            is_mapped = around.maps_ports and fields.get("forward", Forward.NAT) in TRANSLATING
            if port is not None and not is_mapped:
                exception = (
                    " (nat and fullnat can change it, but only without persistence)"
                    if around.portless != "port 0"
                    else ""
                )
                message = f"behind {around.portless} packets keep the port they came with{exception}"
                self._errors.add(path, f"{message}; write the address alone")
            port = port if port is not None and is_mapped else 0
        elif port is None:
            if around.endpoint is None:
                return ()
            port = around.endpoint.port
        return tuple(Endpoint(address, port) for address in written.addresses)

    def _aim(self, template: Template, endpoint: Endpoint, fields: Mapping[str, Any]) -> AnyCheck:
        around = self._around
        if path_rules.goes_through(template):
            virtual, protocol = around.endpoint, around.protocol
            problems = list(path_rules.problems(template, virtual, protocol, endpoint, fields))
            for problem in problems:
                self._errors.add(template.path, problem)
            if virtual is not None and not problems:
                path = path_rules.path_to(virtual, protocol, endpoint, fields)
                return self._placed(template, virtual, path)
        return self._placed(template, endpoint)

    def _placed(self, template: Template, endpoint: Endpoint, path: DataPath | None = None) -> AnyCheck:
        around = self._around
        if not endpoint.port and not template.has("port") and template.kind not in ("ping", "exec"):
            message = f"port is missing; {around.portless} has none that could be probed, so name one: port = 80"
            self._errors.add(template.path, message)
        check = build(template, endpoint, None if around.portless else around.endpoint, path)
        if check.way and check.way.source and (":" in check.way.source) != (":" in check.address):
            self._errors.add(
                template.path, f"source {check.way.source} is of another family than {check.address}, which is probed"
            )
        return check
