"""The entries of `real_server` and `fallback`: to records, each with its checks aimed at it."""

from collections.abc import Mapping

import msgspec

from lvs_healthd.config import checks
from lvs_healthd.config.addresses import ServerAddress, server_address
from lvs_healthd.config.errors import Errors, WrongValueError, expected
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import AnyCheck, Endpoint, Forward, RealServer
from lvs_healthd.config.schema import FALLBACK_KEYS, REAL_SERVER_KEYS, Key, Table, read_table

NO_CHECK = 'no check; the least is check = { type = "tcp" }'


class Surroundings(msgspec.Struct, frozen=True):
    """What a service hands down to its servers. None for what is wrong and has been told about."""

    endpoint: Endpoint | None
    is_mark: bool
    forward: Forward | None
    checks: tuple[checks.Template, ...]
    has_checks: bool
    """Whether the service says how to check at all; `checks` may lack what is wrong."""
    checks_are_right: bool


class Placed(msgspec.Struct, frozen=True):
    """A server with the place of its address in the file, for the rules that compare servers."""

    server: RealServer
    path: KeyPath
    forward_is_known: bool


class ServerReader:
    """Reads the servers of one service."""

    def __init__(self, around: Surroundings, reader: checks.CheckReader, errors: Errors) -> None:
        self._around = around
        self._reader = reader
        self._errors = errors

    def real_servers(self, written: object, path: KeyPath) -> list[Placed]:
        """Read `real_server`: a list of addresses and tables, or [[service.real_server]]."""
        return self._read(written, path, REAL_SERVER_KEYS)

    def fallback(self, written: object, path: KeyPath) -> list[Placed]:
        """Read `fallback`: the same, but without checks."""
        return self._read(written, path, FALLBACK_KEYS)

    def _read(self, written: object, path: KeyPath, keys: Mapping[str, Key]) -> list[Placed]:
        if not isinstance(written, list):
            self._errors.add_all(path, expected('a list such as ["198.51.100.11:80"]', written))
            return []
        placed = (self._one(entry, (*path, index), keys) for index, entry in enumerate(written))
        return [server for server in placed if server]

    def _one(self, entry: object, path: KeyPath, keys: Mapping[str, Key]) -> Placed | None:
        if isinstance(entry, str):
            table = Table(path, {}, {})
            address_path = path
            try:
                table.values["endpoint"] = server_address(entry)
            except WrongValueError as error:
                self._errors.add_all(path, error)
        elif isinstance(entry, dict):
            table = read_table(entry, path, keys, self._errors)
            address_path = table.at("endpoint")
            if "endpoint" not in table:
                self._errors.add(path, "address is missing")
        else:
            self._errors.add_all(path, expected("an address, or a table with one", entry))
            return None
        templates = self._templates(table) if "check" in keys else ()
        endpoint = self._endpoint(table.values.get("endpoint"), address_path)
        if endpoint is None:
            return None
        forward = None if table.is_wrong("forward") else table.values.get("forward", self._around.forward)
        server = RealServer(
            endpoint=endpoint,
            weight=table.values.get("weight", 1),
            forward=forward or Forward.NAT,
            checks=tuple(self._aim(template, endpoint) for template in templates),
        )
        return Placed(server, address_path, forward is not None)

    def _templates(self, table: Table) -> tuple[checks.Template, ...]:
        if "check" not in table:
            if not self._around.has_checks:
                self._errors.add(table.path, NO_CHECK)
            return self._around.checks
        written, path = table.values["check"], table.at("check")
        if self._around.checks_are_right:
            return self._reader.read(written, path, self._around.checks)
        self._reader.read_values(written, path)
        return ()

    def _endpoint(self, written: ServerAddress | None, path: KeyPath) -> Endpoint | None:
        if written is None:
            return None
        if self._around.is_mark:
            if written.port is not None:
                message = "a real server behind a firewall mark has no port: packets keep the one they came with"
                self._errors.add(path, f"{message}; write the address alone")
            return Endpoint(written.address, 0)
        if written.port is not None:
            return Endpoint(written.address, written.port)
        return Endpoint(written.address, self._around.endpoint.port) if self._around.endpoint else None

    def _aim(self, template: checks.Template, endpoint: Endpoint) -> AnyCheck:
        if not endpoint.port and not template.has("port"):
            message = "port is missing; a firewall mark has none that a probe could go to, so name one: port = 80"
            self._errors.add(template.path, message)
        return checks.build(template, endpoint, self._around.endpoint)
