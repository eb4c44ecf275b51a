"""The `[[service]]` tables: to records."""

from lvs_healthd.config import rules
from lvs_healthd.config.checks import CheckReader
from lvs_healthd.config.errors import Errors, expected
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.memory import Memory
from lvs_healthd.config.model import Endpoint, Family, Forward, Protocol, Service
from lvs_healthd.config.schema import SERVICE_KEYS, Table, read_table
from lvs_healthd.config.servers import NO_CHECK, Placed, ServerReader, Surroundings


def read_services(written: object, reader: CheckReader, errors: Errors, memory: Memory) -> tuple[Service, ...]:
    """Read every service. Errors are noted; a service that cannot be identified is left out."""
    if not isinstance(written, list):
        fix = "in double brackets, once for each service" if isinstance(written, dict) else ""
        errors.add_all(("service",), expected("[[service]] tables", written, fix))
        return ()
    services: list[tuple[KeyPath, Service]] = []
    for index, entry in enumerate(written):
        path = ("service", index)
        if not isinstance(entry, dict):
            errors.add_all(path, expected("a table", entry))
            continue
        known = memory.recall(entry)
        if known is not None:
            errors.name_service(index, known.name)
            services.append((path, known))
            continue
        table = read_table(entry, path, SERVICE_KEYS, errors)
        name = _name(table)
        if name:
            errors.name_service(index, name)
        service = _read(table, reader, errors)
        if service:
            memory.note(entry, service)
            services.append((path, service))
    rules.judge_together(services, errors)
    return tuple(service for _, service in services)


def _name(table: Table) -> str:
    """Settle the service's name; empty where that takes a value that is wrong."""
    values = table.values
    if "name" in table:
        return str(values.get("name", ""))
    if "endpoint" in values and not table.is_wrong("protocol"):
        return f"{values['endpoint']}/{values.get('protocol', Protocol.TCP)}"
    if "fwmark" in values:
        return f"fwmark {values['fwmark']}"
    return ""


def _read(table: Table, reader: CheckReader, errors: Errors) -> Service | None:
    values = dict(table.values)
    endpoint: Endpoint | None = values.get("endpoint")
    _judge_identity(table, errors)
    if "real_server" not in table:
        errors.add(table.path, "real_server is missing: a service needs at least one")
    written_servers = values.pop("real_server", [])
    if written_servers == [] and "real_server" in table:
        errors.add(table.at("real_server"), "no real server in it: a service needs at least one")
    written_check = values.pop("check", [])
    checks = reader.read(written_check, table.at("check")) if "check" in table else ()
    nobody_has_checks = "check" not in table and not _any_has_check(written_servers)
    if nobody_has_checks:
        errors.add(table.path, NO_CHECK)
    around = Surroundings(
        endpoint=endpoint,
        is_mark="fwmark" in table and "endpoint" not in table,
        forward=None if table.is_wrong("forward") else values.get("forward", Forward.NAT),
        checks=checks,
        has_checks="check" in table or nobody_has_checks,
        checks_are_right=len(checks) == (len(written_check) if isinstance(written_check, list) else 1),
    )
    server_reader = ServerReader(around, reader, errors)
    servers = server_reader.real_servers(written_servers, table.at("real_server"))
    fallback = server_reader.fallback(values.pop("fallback", []), table.at("fallback"))
    name = _name(table)
    if not name or (endpoint is None and "fwmark" not in values):
        return None
    family = _family(table, servers + fallback, errors)
    if "name" not in table and endpoint is None and family is Family.IPV6:
        name += " ipv6"
    service = Service(
        **values
        | {
            "name": name,
            "family": family,
            "real_servers": tuple(placed.server for placed in servers),
            "fallback": tuple(placed.server for placed in fallback),
        }
    )
    rules.judge_servers(service, servers, fallback, errors)
    return service


def _judge_identity(table: Table, errors: Errors) -> None:
    if "endpoint" in table:
        if "fwmark" in table:
            errors.add(table.at("fwmark"), "a service has an address or a fwmark, not both")
        if "family" in table:
            errors.add(table.at("family"), "only for a fwmark: any other service shows it in its address")
    elif "fwmark" in table:
        if "protocol" in table:
            errors.add(table.at("protocol"), "not for a fwmark: a firewall mark matches any protocol")
    else:
        errors.add(table.path, 'address is missing: "192.0.2.100:80", or a firewall mark: fwmark = 7')


def _any_has_check(servers: object) -> bool:
    return isinstance(servers, list) and any(isinstance(server, dict) and "check" in server for server in servers)


def _family(table: Table, servers: list[Placed], errors: Errors) -> Family:
    """Settle the family: the address shows it; a firewall mark has its servers' unless the file says so."""
    endpoint: Endpoint | None = table.values.get("endpoint")
    if endpoint is not None:
        return endpoint.family
    if "family" in table.values:
        return Family(table.values["family"])
    families = {placed.server.endpoint.family for placed in servers}
    if len(families) > 1 and "family" not in table:
        errors.add(table.path, 'real servers of both families: say which the clients use: family = "ipv4" or "ipv6"')
    return families.pop() if len(families) == 1 else Family.IPV4
