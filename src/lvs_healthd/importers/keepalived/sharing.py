"""Writes what the checks of a service's real servers have in common once, at the service."""

from typing import Any

Check = dict[str, Any]

_OWN = frozenset({"address", "port", "source", "interface", "mark", "host", "path", "timeout", "fall", "fast_interval"})
"""What may be different at each server: the service's check is valid without it."""


def shared(servers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return `check` and `real_server` of a service.

    servers: real servers, each with `check`, a list of whole checks, unless it has none.
    """
    lists = [server["check"] for server in servers if "check" in server]
    names = [[_name(check) for check in checks] for checks in lists]
    whole = {"real_server": [_written(server, server.get("check", [])) for server in servers]}
    if len(lists) < len(servers) or any(other != names[0] for other in names):
        return whole
    common = [_common(same) for same in zip(*lists, strict=True)]
    pairs = [pair for checks in lists for pair in zip(checks, common, strict=True)]
    if any(check.keys() - base.keys() - _OWN for check, base in pairs):
        return whole
    own = [[_rest(check, base) for check, base in zip(checks, common, strict=True)] for checks in lists]
    written = [_written(server, [rest for rest in rests if rest]) for server, rests in zip(servers, own, strict=True)]
    return {"check": _listed(common), "real_server": written}


def _name(check: Check) -> tuple[str, str]:
    return str(check["type"]), str(check.get("name", ""))


def _common(checks: tuple[Check, ...]) -> Check:
    return {
        key: value for key, value in checks[0].items() if all(key in check and check[key] == value for check in checks)
    }


def _rest(check: Check, base: Check) -> Check:
    """Return what a server's check has beyond the service's, with what it is recognised by; {} if nothing."""
    own = {key: value for key, value in check.items() if key not in base}
    if not own:
        return {}
    return ({"name": check["name"]} if "name" in check else {"type": check["type"]}) | own


def _written(server: dict[str, Any], checks: list[Check]) -> dict[str, Any]:
    kept = {key: value for key, value in server.items() if key != "check" and (key, value) != ("weight", 1)}
    return kept | ({"check": _listed(checks)} if checks else {})


def _listed(checks: list[Check]) -> Check | list[Check]:
    return checks[0] if len(checks) == 1 else checks
