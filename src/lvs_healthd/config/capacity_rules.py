"""Reports values of `min_up`, `below` and `slow_start` that do not fit their service."""

from lvs_healthd.config.errors import Errors
from lvs_healthd.config.model import Below, Service
from lvs_healthd.config.schema import TomlTable

_UNWEIGHTED = ("rr", "lc", "dh")
"""The schedulers that do not look at weights."""
_HASHING = ("sh", "mh")
"""The schedulers whose hash follows the weights."""


def validate_capacity(service: Service, table: TomlTable, errors: Errors) -> None:
    """Add an error or a remark for each value that does not do what was meant."""
    _validate_min_up(service, table, errors)
    _validate_slow_start(service, table, errors)


def _validate_min_up(service: Service, table: TomlTable, errors: Errors) -> None:
    min_up, servers = service.min_up, service.real_servers
    if (
        "below" in table
        and service.below is Below.FALLBACK
        and not service.fallback
        and not table.values.get("fallback")
    ):
        errors.add(table.at("below"), 'there is no fallback; write fallback = ["198.51.100.99:80"], or below = "none"')
    if (
        "min_up" not in table
        or table.is_wrong("min_up")
        or not servers
        or service.sources  # which may list any number
        or table.is_wrong("real_server")
        or table.is_wrong("pool")
    ):
        return
    at = table.at("min_up")
    if min_up.weight and service.slow_start:
        errors.add(at, "a slow start would count as missing weight; write a count instead of a weight")
    if min_up.count > len(servers):
        errors.add(at, f"more than the service has real servers, {len(servers)}; write that or less, or add servers")
        return
    weights = [server.weight for server in servers if server.weight]
    most, what = (sum(weights), "weight") if min_up.weight else (len(weights), "servers with a weight above 0")
    needed = min_up.needed(weights)
    to_return = needed + min_up.hysteresis
    if needed > most:
        errors.remark(at, f"{needed} are needed, and there is never more than {most} ({what}): always below")
    elif to_return > most:
        errors.remark(
            at, f"once below, it takes {to_return} to come back, and there is never more than {most} ({what})"
        )


def _validate_slow_start(service: Service, table: TomlTable, errors: Errors) -> None:
    """Add an error or a remark if a slow start would do nothing, or something else than what was meant.

    Sources: net/netfilter/ipvs/ip_vs_rr.c, ip_vs_lc.c and ip_vs_dh.c ask only whether a weight is 0; ip_vs_fo.c takes
    the server with the greatest weight; ip_vs_sh.c and ip_vs_mh.c assign all their buckets again when a weight changes.
    """
    if not service.slow_start or table.is_wrong("scheduler"):
        return
    at, scheduler = table.at("slow_start"), service.scheduler
    if scheduler in _UNWEIGHTED:
        errors.add(at, f'scheduler = "{scheduler}" does not look at weights, so it does nothing; "wrr" and "wlc" do')
    elif scheduler == "fo":
        errors.add(at, "fo sends everything to the server with the greatest weight, so nothing can come slowly")
    elif scheduler in _HASHING:
        errors.remark(at, f"{scheduler} gives some clients of other servers a new server at each step, of up to 20")
    if service.real_servers and not service.sources and all(server.weight <= 1 for server in service.real_servers):
        errors.remark(
            at, "weights are whole numbers and all are 1, so it does nothing; write weight = 100, for example"
        )
