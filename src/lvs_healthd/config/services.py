"""Reads the `[[service]]` tables into records."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from lvs_healthd.config import announcing, path_rules, rules
from lvs_healthd.config.basics import Endpoint, Family, Protocol
from lvs_healthd.config.checks import CheckReader
from lvs_healthd.config.errors import Errors, Problem, expected, show
from lvs_healthd.config.exec_rules import told_about
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import Below, ForeignServers, Forward, Ipvs, Service
from lvs_healthd.config.pools import Pools
from lvs_healthd.config.reuse import LastReading, Reading
from lvs_healthd.config.schema import SERVER_KEYS, SERVICE_KEYS, TomlTable, read_table
from lvs_healthd.config.servers import NO_CHECK, Placed, ServerReader, Surroundings
from lvs_healthd.config.service_defaults import with_defaults
from lvs_healthd.config.sources import Source
from lvs_healthd.config.values import LONGEST_LABEL

_OWN_FIELDS = frozenset({"name", "endpoint", "forward", "sources", *SERVICE_KEYS}) - (
    frozenset({"address", "check", "fallback", "real_server", "pool", "source", *SERVER_KEYS}) - {"forward"}
)
"""The fields of a service's record that are copied from its table."""


class ForServices(NamedTuple):
    """What the reading of services needs besides their tables."""

    ipvs: Ipvs
    """The settings for IPVS as a whole, on which remarks on services depend."""
    reader: CheckReader
    """Reads their checks."""
    memory: LastReading
    """The last reading, from which unchanged services are taken."""
    defaults: TomlTable
    """`[defaults.service]`."""
    pools: Pools
    """The servers that services share."""


def read_services(written: object, around: ForServices, errors: Errors) -> tuple[Service, ...]:
    """Read all services.

    written: the value of `service` in the file.
    errors: errors and remarks are added here. A service without a usable name, address or mark is left out.
    """
    ipvs, reader, memory, defaults, pools = around
    default_pool = defaults.values.get("pool")
    if not isinstance(written, list):
        fix = "in double brackets, once for each service" if isinstance(written, dict) else ""
        errors.add_all(("service",), expected("[[service]] tables", written, fix))
        return ()
    services: list[tuple[KeyPath, Service]] = []
    remarks: list[tuple[int | None, Problem]] = [(None, remark) for remark in errors.take_remarks()]
    for index, entry in enumerate(written):
        path: KeyPath = ("service", index)
        if not isinstance(entry, dict):
            errors.add_all(path, expected("a table", entry))
            continue
        content = pools.with_content(entry, default_pool)
        found = memory.recall(content)
        if found is None:
            errors.about_service = index
            table = pools.checked(with_defaults(read_table(entry, path, SERVICE_KEYS, errors), defaults))
            read = tuple(_read(table, index, around, errors))
            errors.about_service = None
            found = _reading(read, path, errors.take_remarks(), reader)
            if read:
                memory.note(content, found)
        else:
            errors.name_service(index, found.services[0].name)
        services += [(path, service) for service in found.services]
        remarks += [(None, Problem((*path, *remark.at), remark.message)) for remark in found.remarks]
        remarks += [(index, remark) for remark in found.remarks_elsewhere]
    pools.read_unused(reader)
    for about, remark in remarks:
        errors.about_service = about
        errors.remark(remark.at, remark.message)
    errors.about_service = None
    rules.validate_together(services, errors)
    announcing.validate_announced(services, errors)
    rules.validate_targets(services, written, errors)
    path_rules.validate_paths(services, ipvs, errors)
    rules.remark_quiescing(services, ipvs, errors)
    return tuple(service for _, service in services)


def _reading(read: tuple[Service, ...], path: KeyPath, remarks: Iterable[Problem], reader: CheckReader) -> Reading:
    """Return what was read from the table at `path`, with the remarks on it in the form that is kept."""
    own, elsewhere = [], []
    for remark in remarks:
        if remark.at[: len(path)] == path:
            own.append(Problem(remark.at[len(path) :], remark.message))
        else:
            elsewhere.append(remark)
    return Reading(read, tuple(own), reader.take_ready_made(), tuple(elsewhere))


def _read(table: TomlTable, index: int, around: ForServices, errors: Errors) -> Iterator[Service]:
    """Read one table, which may hold several services: one for each address of a range and each protocol."""
    values = table.values
    endpoints: tuple[Endpoint | None, ...] = values.get("endpoint", (None,))
    protocols: tuple[Protocol, ...] = values.get("protocol", (Protocol.TCP,))
    name = _name(table, endpoints[0], protocols[0])
    if name:
        errors.name_service(index, name)
    _validate_identity(table, errors)
    for endpoint in endpoints:
        for protocol in protocols:
            own = _name(table, endpoint, protocol)
            if "name" in table and own:
                own += f" {endpoint.address}" if endpoint is not None and len(endpoints) > 1 else ""
                own += f"/{protocol}" if len(protocols) > 1 else ""
                if len(own) > LONGEST_LABEL:
                    message = f"with address and protocol, as {show(own)}, more than {LONGEST_LABEL} characters"
                    errors.add(table.at("name"), message)
            identity = {"name": own, "endpoint": endpoint, "protocol": protocol}
            service = _read_one(table, identity, around, errors)
            if service is not None:
                yield service


def _name(table: TomlTable, endpoint: Endpoint | None, protocol: Protocol) -> str:
    """Return the service's name as written, or its default name. Empty when a value that the name needs is wrong."""
    values = table.values
    if "name" in table:
        return str(values.get("name", ""))
    if endpoint is not None and not table.is_wrong("protocol"):
        return f"{endpoint}/{protocol}"
    if "fwmark" in values:
        return f"fwmark {values['fwmark']}"
    return ""


def _read_one(table: TomlTable, identity: dict[str, Any], around: ForServices, errors: Errors) -> Service | None:
    """Read one service of a table. `identity` holds its name, endpoint and protocol."""
    values = table.values | identity
    endpoint: Endpoint | None = values["endpoint"]
    family = Family(values.get("family", Family.IPV4)) if endpoint is None else endpoint.family
    sources = values["sources"] = around.pools.sources(table, family)
    if sources or table.is_wrong("sources"):
        _validate_sourced(table, sources, family, errors)
    elif "real_server" not in table and "pool" not in table and not _has_servers_below(table):
        errors.add(table.path, "real_server is missing: a service needs at least one")
    elif values.get("real_server") == []:
        errors.add(table.at("real_server"), "the list is empty: a service needs at least one")
    if any(around.pools.is_unknown(source) for source in sources):
        # Until it is known which servers are configured, those that serve now are left alone.
        values["foreign_servers"] = ForeignServers.KEEP
    own_list = (values.get("real_server", []), table.at("real_server"))
    lists = [*around.pools.servers(table), own_list, *around.pools.listed(sources)]
    has_check = any(_any_has_check(written) for written, _ in lists)
    if has_check and sources and "check" not in table:
        errors.add(table.path, f"servers from a source need the checks of the service: {NO_CHECK}")
    surroundings = _surroundings(table, identity, around.reader, errors, servers_have_checks=has_check)
    server_reader = ServerReader(surroundings, around.reader, errors)
    servers = [placed for written, path in lists for placed in server_reader.real_servers(written, path)]
    fallback = server_reader.fallback(values.get("fallback", []), table.at("fallback"))
    if not values["name"] or (endpoint is None and "fwmark" not in values):
        return None
    spares = [placed for placed, _ in fallback]
    values["family"] = _family(endpoint, table, servers + spares, errors)
    if "name" not in table and endpoint is None and values["family"] is Family.IPV6:
        values["name"] += " ipv6"
    if "persistence_mask" in values:
        values["persistence_mask"] = values["persistence_mask"].bits
    if fallback and "below" not in values:
        values["below"] = Below.FALLBACK
    # The other fields belong to the service's servers, which have been read above.
    own = {field: value for field, value in values.items() if field in _OWN_FIELDS}
    service = Service(
        **own,
        pattern=server_reader.pattern(values["family"]) if sources else None,
        real_servers=tuple(placed.server for placed in servers),
        fallback=tuple(server for _, server in fallback),
    )
    rules.validate_service(service, table, errors)
    rules.validate_servers(service, table, (*servers, *spares), errors)
    return told_about(service)


def _surroundings(
    table: TomlTable, identity: dict[str, Any], reader: CheckReader, errors: Errors, *, servers_have_checks: bool
) -> Surroundings:
    """Collect what a service passes on to its servers. `identity` holds its name, endpoint and protocol."""
    values = table.values
    endpoint: Endpoint | None = identity["endpoint"]
    written = values.get("check", [])
    checks = reader.read(written, table.at("check")) if "check" in table else ()
    nobody_has_checks = "check" not in table and not servers_have_checks
    if nobody_has_checks:
        errors.add(table.path, NO_CHECK)
    is_mark = "fwmark" in table and "endpoint" not in table
    return Surroundings(
        endpoint=endpoint,
        protocol=identity["protocol"],
        portless="a firewall mark" if is_mark else "port 0" if endpoint is not None and not endpoint.port else "",
        maps_ports=is_mark and not values.get("persistence"),
        handed_down={field: values[field] for field in SERVER_KEYS if field in values},
        wrong=frozenset(field for field in SERVER_KEYS if table.is_wrong(field)),
        checks=checks,
        has_checks="check" in table or nobody_has_checks,
        checks_are_right=len(checks) == (len(written) if isinstance(written, list) else 1),
    )


def _validate_identity(table: TomlTable, errors: Errors) -> None:
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


def _validate_sourced(table: TomlTable, sources: Iterable[Source], family: Family, errors: Errors) -> None:
    """Add an error for what a service must say itself, because its servers may come later.

    sources: the service's sources.
    family: its family.
    """
    if "endpoint" not in table and "fwmark" in table and "family" not in table:
        errors.add(table.path, 'servers from a source may come later: say which family clients use: family = "ipv4"')
    elif table.values.get("forward") is not Forward.TUN:
        for source in sources:
            if source.family not in {None, family}:
                errors.add(
                    table.path,
                    f'"{source}" lists {source.family} only, and the service is {family}; leave out `family`',
                )


def _has_servers_below(table: TomlTable) -> bool:
    """Return whether `real_server` is written below the header of a check. Another error reports that mistake."""
    written = table.values.get("check")
    checks = written if isinstance(written, list) else [written]
    return any(isinstance(check, dict) and "real_server" in check for check in checks)


def _any_has_check(servers: object) -> bool:
    return isinstance(servers, list) and any(isinstance(server, dict) and "check" in server for server in servers)


def _family(endpoint: Endpoint | None, table: TomlTable, servers: list[Placed], errors: Errors) -> Family:
    """Return the service's address family.

    A service with an address has the address's family. A firewall mark has the family that is written in the file, or
    otherwise the family of its servers.
    """
    if endpoint is not None:
        return endpoint.family
    if "family" in table.values:
        return Family(table.values["family"])
    families = {placed.server.endpoint.family for placed in servers}
    if len(families) > 1 and "family" not in table:
        errors.add(table.path, 'real servers of both families: say which the clients use: family = "ipv4" or "ipv6"')
    return families.pop() if len(families) == 1 else Family.IPV4
