"""Writes a configuration as TOML with every default filled in, for `validate --effective`.

Loading the output gives the same records, except that secrets are hidden, because people paste it into tickets.
Inherited checks are written out at each real server.
"""

import ipaddress
from typing import Any

import msgspec
import tomli_w

from lvs_healthd.config import announcing
from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.check_model import (
    AgentCheck,
    AnyCheck,
    Connection,
    ConversationStep,
    DnsCheck,
    GrpcCheck,
    HttpCheck,
    PingCheck,
    StreamCheck,
    TcpCheck,
    data_path,
    kept,
    uses_tls,
)
from lvs_healthd.config.effective_hooks import hook_table
from lvs_healthd.config.fleet import FLEET_KEYS
from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.general_keys import BRAKE_KEYS, DAEMON_KEYS
from lvs_healthd.config.ipvs import TIMEOUT_KEYS, sysctl_value
from lvs_healthd.config.model import ActiveWhen, Brake, Config, Damping, Forward, Ipvs, MinUp, Pair, RealServer, Service
from lvs_healthd.config.paces import PACES
from lvs_healthd.config.pair import PAIR_KEYS
from lvs_healthd.config.schema import (
    CHECK_FIELDS,
    CHECK_KEYS,
    CHECK_TYPES,
    KEPT_FIELDS,
    REQUEST_KEYS,
    SERVER_KEYS,
    SHORT_FORM,
    THROUGH_VIP,
    TLS_FIELDS,
    WAY_FIELDS,
)
from lvs_healthd.config.secrecy import HIDDEN, is_secret, is_secret_command, without_secrets
from lvs_healthd.config.shapes import shape_of
from lvs_healthd.config.sources import sources
from lvs_healthd.config.values import days_text, duration_text

_NAMED_VALUES = {"environment", "headers", "expect_headers", "expect_headers_regex"}
_DURATIONS = {
    *(*PACES, *KEPT_FIELDS, "timeout", "resync", "within", "longest"),
    *("track_after", "track_back", "announce_after", "withdraw_after"),
}
_LONG_DURATIONS = {"expires_within", "expires_fail"}


def to_toml(config: Config) -> str:
    """Write a whole configuration as TOML."""
    daemon = {key: _value(key, getattr(config.daemon, key)) for key in DAEMON_KEYS}
    daemon["reload_guard"] = f"{config.daemon.reload_guard}%"
    services = [_service(service) for service in config.services]
    tables = {
        "daemon": daemon,
        "ipvs": _ipvs(config.ipvs),
        "brake": _brake(config.brake),
        "pair": _pair(config.pair),
        **({"fleet": _fleet(config.fleet)} if config.fleet.store else {}),
        "service": services,
    }
    return tomli_w.dumps(tables | ({"hook": [hook_table(hook) for hook in config.hooks]} if config.hooks else {}))


def _ipvs(ipvs: Ipvs) -> dict[str, Any]:
    """Return the `[ipvs]` table with the settings that are configured. Without one, the kernel keeps its own value."""
    written = {key: getattr(ipvs.timeouts, key) for key in TIMEOUT_KEYS}
    timeouts = {key: duration_text(value) for key, value in written.items() if value is not None}
    daemons = {"master": ipvs.sync.master, "backup": ipvs.sync.backup}
    sync = {role: _present(msgspec.structs.asdict(daemon)) for role, daemon in daemons.items() if daemon is not None}
    sysctl = {name: sysctl_value(name, text) for name, text in ipvs.sysctl}
    tables = {"timeouts": timeouts, "sync": sync, "sysctl": sysctl}
    marks = "{}-{}".format(*ipvs.path_marks)
    return {"netns": ipvs.netns, "path_marks": marks, **{name: table for name, table in tables.items() if table}}


def _brake(brake: Brake) -> dict[str, Any]:
    keys = {key: _value(key, getattr(brake, key)) for key in BRAKE_KEYS}
    return {**keys, "share": f"{brake.share}%"}


def _pair(pair: Pair) -> dict[str, Any]:
    """Return the `[pair]` table. Keys that are errors without another are left out without it."""
    left_out = set() if pair.active_when is ActiveWhen.VIP_PRESENT else {"standby"}
    left_out |= set() if pair.track_file else {"track", "track_fault", "track_after", "track_back"}
    keys = {key: _value(key, getattr(pair, key)) for key in PAIR_KEYS.keys() - left_out}
    return {key: keys[key] for key in PAIR_KEYS if key in keys}


def _fleet(fleet: Fleet) -> dict[str, Any]:
    """Return the `[fleet]` table. Keys that are empty are left out, because they are errors without another."""
    keys = {key: getattr(fleet, key) for key in FLEET_KEYS}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in keys.items() if value}


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _service(service: Service) -> dict[str, Any]:
    identity: dict[str, Any] = (
        {"address": str(service.endpoint), "protocol": str(service.protocol)}
        if service.endpoint
        else {"fwmark": service.fwmark, "family": str(service.family)}
    )
    return {
        "name": service.name,
        **identity,
        "scheduler": service.scheduler,
        "scheduler_flags": list(service.scheduler_flags),
        "forward": str(service.forward),
        "persistence": duration_text(service.persistence),
        **_persistence(service),
        "one_packet": service.one_packet,
        "on_failure": str(service.on_failure),
        "foreign_servers": str(service.foreign_servers),
        "damping": _damping(service.damping),
        "min_up": _min_up(service.min_up),
        "below": str(service.below),
        "slow_start": duration_text(service.slow_start),
        "mode": str(service.mode),
        "brake": service.brake,
        **({} if service.vip is None else {"vip": service.vip}),
        **_announce(service),
        **_synproxy(service),
        "fallback": [{**_server(server), "tier": server.tier} for server in service.fallback],
        **({"source": shape_of(sources).write(service.sources)} if service.sources else {}),
        **(_passed_on(service.pattern) if service.pattern is not None else {}),
        "real_server": [_server(server) for server in service.real_servers],
    }


def _passed_on(pattern: RealServer) -> dict[str, Any]:
    """Return what a service passes on to servers from its sources. What differs from server to server is left out."""
    own = _server(pattern)
    checks = [_without(pattern.endpoint, check) for check in own.pop("check", [])]
    return {key: own[key] for key in own if key in SERVER_KEYS} | {"check": checks}


def _without(nowhere: Endpoint, check: dict[str, Any]) -> dict[str, Any]:
    """Return a check without the keys whose values come from the server's address."""
    host = str(nowhere).removesuffix(":0")

    def is_from_it(key: str, value: object) -> bool:
        is_text = isinstance(value, str) and (value in (nowhere.address, host) or value.startswith(f"{host}:"))
        return is_text or (key == "port" and not value)

    kept = {key: value for key, value in check.items() if not is_from_it(key, value)}
    if "requests" in kept:
        kept["requests"] = [_without(nowhere, request) for request in kept["requests"]]
    return kept


def _persistence(service: Service) -> dict[str, Any]:
    """Return the keys that belong to persistence.

    Without a mask, each address is a client of its own. No value of `persistence_mask` expresses that, so the key is
    then left out.
    """
    engine, mask = {"persistence_engine": service.persistence_engine}, service.persistence_mask
    if mask is None:
        return engine
    return {"persistence_mask": mask if mask >= 0 else str(ipaddress.IPv4Address(-mask)), **engine}


def _damping(damping: Damping | None) -> dict[str, Any] | bool:
    if damping is None:
        return False
    window, longest = duration_text(damping.window), duration_text(damping.longest)
    return {"falls": damping.falls, "window": window, "longest": longest}


def _min_up(min_up: MinUp) -> dict[str, Any]:
    count = f"{min_up.percent}%" if min_up.percent else min_up.count
    needed = {"weight": min_up.weight} if min_up.weight else {"count": count}
    return {**needed, "hysteresis": min_up.hysteresis}


def _announce(service: Service) -> dict[str, Any]:
    if not service.announce:
        return {} if service.announce is None else {"announce": ""}
    return {key: _value(key, getattr(service, key)) for key in ("announce", *announcing.HOW)}


def _synproxy(service: Service) -> dict[str, Any]:
    if not service.synproxy:
        return {"synproxy": False}
    mss = {} if service.synproxy_mss is None else {"synproxy_mss": service.synproxy_mss}
    return {"synproxy": True, **mss, "synproxy_wscale": service.synproxy_wscale}


def _server(server: RealServer) -> dict[str, Any]:
    is_tunnel = server.forward is Forward.TUN
    written = {
        "address": _server_address(server.endpoint),
        "weight": server.weight,
        "forward": str(server.forward),
        **({"tun_type": str(server.tun_type), "tun_checksum": str(server.tun_checksum)} if is_tunnel else {}),
        **({"tun_port": server.tun_port} if server.tun_port else {}),
        "upper_threshold": server.upper_threshold,
        "lower_threshold": server.lower_threshold,
    }
    return written | ({"check": [_check(check) for check in server.checks]} if server.checks else {})


def _server_address(endpoint: Endpoint) -> str:
    """Format a server's endpoint. A port of 0, which servers behind a firewall mark have, is left out."""
    return str(endpoint).removesuffix(":0")


def _request(request: HttpCheck) -> dict[str, Any]:
    written = _check(request)
    return {key: value for key, value in written.items() if key in REQUEST_KEYS}


def _check(check: AnyCheck) -> dict[str, Any]:
    if isinstance(check, StreamCheck | AgentCheck) and is_secret_command(check.send):
        check = msgspec.structs.replace(check, send=HIDDEN.encode())
    if isinstance(check, HttpCheck) and is_secret_command(check.send_body):
        check = msgspec.structs.replace(check, send_body=HIDDEN)
    kind = next(kind for kind, record in CHECK_TYPES.items() if type(check) is record)
    through = {"through": THROUGH_VIP if data_path(check) else ""} if "through" in CHECK_FIELDS[kind] else {}
    how = Connection.NEW if kept(check) is None else Connection.KEEP
    connection = {"connection": str(how)} if "connection" in CHECK_FIELDS[kind] else {}
    return {"type": kind, **through, **connection} | {
        key: _value(key, getattr(_holder(check, field), field))
        for key, field in _keys_of(check).items()
        if key not in {"type", *_left_out(check)}
    }


def _left_out(check: AnyCheck) -> set[str]:
    """Return the keys that mean nothing in this check, and that are wrong in it even with their defaults."""
    left_out = {"address", "port"} if data_path(check) is not None else set()
    if isinstance(check, HttpCheck):
        return left_out if check.requests else left_out | {"requests"}
    if not uses_tls(check) and isinstance(check, TcpCheck | DnsCheck | GrpcCheck):
        left_out |= {*TLS_FIELDS}
    if isinstance(check, PingCheck):
        return {"port"}
    if isinstance(check, AgentCheck):
        return {"send", "send_hex"} if check.path else {"path", "host"}
    if isinstance(check, StreamCheck) and check.steps:
        return left_out | {key for key, schema in CHECK_KEYS.items() if (schema.field or key) in SHORT_FORM}
    return left_out | {"steps"}


def _holder(check: AnyCheck, field: str) -> object:
    """Return the record that holds a field: the check itself, or one that it shares with other checks."""
    if field in WAY_FIELDS:
        return check.way
    if field in KEPT_FIELDS:
        return kept(check)
    return getattr(check, "tls", None) if field in TLS_FIELDS else check


def _step(step: ConversationStep) -> dict[str, Any]:
    if step.starttls:
        return {"starttls": True}
    if step.expect_regex:
        return {"expect_regex": step.expect_regex}
    if is_secret_command(step.send):
        return {"send": HIDDEN}
    field, data = ("send", step.send) if step.send else ("expect", step.expect)
    return {field: data.decode()} if _is_text(data) else {f"{field}_hex": data.hex(" ")}


def _keys_of(check: AnyCheck) -> dict[str, str]:
    """Return the keys with which to write a check, mapped to their fields.

    Among keys that exclude each other, the one that has a value is chosen.
    """
    chosen: dict[str, tuple[str, str]] = {}
    for key, schema in CHECK_KEYS.items():
        field = schema.field or key
        value = getattr(_holder(check, field), field, None)
        is_other_form = isinstance(value, bytes) and key.endswith("_hex") is _is_text(value)
        if value is None or is_other_form or (field in WAY_FIELDS and value == ""):
            continue
        group = schema.group or key
        if group not in chosen or value:
            chosen[group] = key, field
    return dict(chosen.values())


def _value(key: str, value: Any) -> Any:  # noqa: ANN401  # whatever a record's field holds
    if key in _DURATIONS:
        return duration_text(value)
    if key in _LONG_DURATIONS:
        return days_text(value)
    match value:
        case bytes():
            return value.hex(" ") if key.endswith("_hex") else value.decode()
        case tuple() if key in _NAMED_VALUES:
            return {name: HIDDEN if content and is_secret(name) else content for name, content in value}
        case tuple() if key == "json":
            return {path: msgspec.json.decode(text) for path, text in value}
        case tuple() if key == "requests":
            return [_request(request) for request in value]
        case tuple() if key == "steps":
            return [_step(step) for step in value]
        case tuple() if key in {"rcode", "command", "alpn", "track"}:
            return list(value)
        case tuple():  # status
            return [str(first) if first == last else f"{first}-{last}" for first, last in value]
        case str() if key == "path":
            return without_secrets(value)
        case str():
            return str(value)  # this also turns an enum's member into a plain string
        case _:
            return value


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\r\n\t" for letter in text)
