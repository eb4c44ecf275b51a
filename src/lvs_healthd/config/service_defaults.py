"""Reads `[defaults.service]`, and gives its values to each service. A service's own key wins."""

from collections.abc import Iterable

import msgspec

from lvs_healthd.config.basics import Protocol
from lvs_healthd.config.checks import CheckReader
from lvs_healthd.config.errors import Errors
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import TRANSLATING, Below, Forward, Service
from lvs_healthd.config.schema import NOT_INHERITED_BY_SERVICES, SERVICE_KEYS, TomlTable, read_table

NO_DEFAULTS = TomlTable((), {}, {})

_SYNPROXY = frozenset({"synproxy", "synproxy_mss", "synproxy_wscale"})
_SLOW_START_DOES_NOTHING = frozenset({"rr", "lc", "dh", "fo"})
"""The schedulers with which `slow_start` is an error: `capacity_rules` says why."""

_REPLACED_WITH = {
    "scheduler": ("scheduler_flags",),
    "tun_type": ("tun_port", "tun_checksum"),
    "upper_threshold": ("lower_threshold",),
}
"""Keys that belong to another one, and mean nothing beside another value of it."""

_SCHEDULER: str = next(field.default for field in msgspec.structs.fields(Service) if field.name == "scheduler")


def read_service_defaults(written: object, reader: CheckReader, errors: Errors) -> TomlTable:
    """Read the table, and the checks in it, so that what is wrong with them is told without a service."""
    path: KeyPath = ("defaults", "service")
    table = read_table(written, path, SERVICE_KEYS, errors)
    for field in NOT_INHERITED_BY_SERVICES:
        if field in table:
            errors.add(table.at(field), f"{table.written[field]} cannot be inherited; write it in each service")
    if "check" in table:
        reader.read(table.values["check"], table.at("check"))
        reader.take_ready_made()
    kept = table.written.keys() - NOT_INHERITED_BY_SERVICES
    values = {field: value for field, value in table.values.items() if field in kept}
    return TomlTable(path, values, {field: table.written[field] for field in table.written if field in kept})


def with_defaults(table: TomlTable, defaults: TomlTable) -> TomlTable:
    """Return a service's table with the values of `[defaults.service]` for the keys that it does not have.

    A default that this kind of service cannot have is left out, as a check leaves out those that its type does not
    have. So "sip" can be the default of the udp services in a file that has tcp services too.
    """
    if not defaults.written:
        return table
    unfit = _unfit(table, defaults)
    given = [field for field in defaults.written if field not in table and field not in unfit]
    return TomlTable(
        table.path,
        {field: defaults.values[field] for field in given if field in defaults.values} | table.values,
        {field: defaults.written[field] for field in given} | table.written,
        {field: defaults.at(field) for field in given},
    )


def _unfit(table: TomlTable, defaults: TomlTable) -> set[str]:
    """Return the fields of the defaults that would be errors in this service, or would do nothing."""
    both = defaults.values | table.values
    unfit = {each for field, belonging in _REPLACED_WITH.items() if field in table for each in belonging}
    is_mark = "endpoint" not in table
    protocols: Iterable[Protocol] = both.get("protocol", (Protocol.TCP,))
    ports = [endpoint.port for endpoint in table.values.get("endpoint", ())]
    if is_mark:
        unfit.add("protocol")
    elif any(protocol is not Protocol.UDP for protocol in protocols):
        unfit |= {"one_packet", "persistence_engine"}
    if is_mark or 0 in ports or any(protocol is not Protocol.TCP for protocol in protocols):
        unfit |= _SYNPROXY
    if both.get("forward", Forward.NAT) not in TRANSLATING or not both.get("synproxy"):
        unfit |= _SYNPROXY
    if both.get("forward") is Forward.FULLNAT:
        unfit.add("one_packet")
    if not both.get("persistence") and "persistence" not in table.written.keys() - table.values.keys():
        unfit |= {"persistence_mask", "persistence_engine"}
    if both.get("scheduler", _SCHEDULER) in _SLOW_START_DOES_NOTHING:
        unfit.add("slow_start")
    if both.get("below") is Below.FALLBACK and not both.get("fallback"):
        unfit.add("below")
    return unfit
