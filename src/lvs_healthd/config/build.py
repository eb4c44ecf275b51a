"""Turns the template of a check into the check of one real server: fills in what is probed, and where probes leave."""

import functools
from typing import Any

from lvs_healthd.config.basics import Endpoint, Seconds
from lvs_healthd.config.check_model import AnyCheck, Carrier, Connection, Kept, Tls
from lvs_healthd.config.check_ways import DataPath, PathWay, Way
from lvs_healthd.config.checks import own_defaults
from lvs_healthd.config.http_requests import requests
from lvs_healthd.config.http_rules import WEBSOCKET_STATUS
from lvs_healthd.config.http_values import DEFAULT_PORT, host_header, host_name
from lvs_healthd.config.paces import paces
from lvs_healthd.config.schema import CHECK_TYPES, KEPT_FIELDS, TLS_FIELDS, WAY_FIELDS
from lvs_healthd.config.template import Template

_CONFIRM_INTERVAL: Seconds = Kept().confirm_interval


def build(template: Template, server: Endpoint, virtual: Endpoint | None, path: DataPath | None = None) -> AnyCheck:
    """Turn a template into the check of one real server.

    server: the endpoint that is probed unless the template has an address or port of its own: the real server's, or the
        service's if the check goes through it.
    virtual: the service's endpoint, for the default Host header; None for a firewall mark.
    path: the way of clients' packets to the real server if the check goes through the service; otherwise None.

    The check's port is 0 when neither the template nor the server has one, and for ping.
    """
    target = Endpoint(template.fields.get("address", server.address), template.fields.get("port", server.port))
    fields = (
        own_defaults(template)
        | template.fields
        | {"name": template.name, "address": target.address, "port": target.port}
    )
    fields |= paces(template.kind, fields, template.floor.interval if template.floor else Seconds(0.0))
    fields.pop("through", None)
    way = {field: fields.pop(field) for field in WAY_FIELDS & fields.keys()}
    if path is not None:
        fields["way"] = PathWay(**way, path=path)
    elif way:
        fields["way"] = _way(**way)
    if template.kind == "ping":
        fields["port"] = 0
    if template.kind in DEFAULT_PORT:
        fields["host"] = fields.get("host") or host_header(virtual or target, DEFAULT_PORT[template.kind])
    if template.kind == "agent" and fields.get("path"):
        fields["host"] = fields.get("host") or host_header(target, DEFAULT_PORT["http"])
    if fields.get("websocket"):
        fields["status"] = WEBSOCKET_STATUS
    tls = {field: fields.pop(field) for field in TLS_FIELDS if field in fields}
    if template.kind == "https":
        tls["sni"] = tls.get("sni") or host_name(fields["host"])
    if template.kind == "grpc":
        fields["authority"] = fields.get("authority") or str(virtual or target)
        if fields.get("over") is Carrier.TLS:
            tls["sni"] = tls.get("sni") or host_name(fields["authority"])
    if tls:
        fields["tls"] = _tls(**tls)
    fields |= _kept(template, fields)
    if "requests" in fields:
        fields["requests"] = requests(template.kind, fields)
    return CHECK_TYPES[template.kind](**fields)


def _kept(template: Template, fields: dict[str, Any]) -> dict[str, Kept]:
    """Take the fields of `Kept` out of a check's fields. Return the record as a field if the connection is kept."""
    is_kept = fields.pop("connection", Connection.NEW) is Connection.KEEP
    given = {field: fields.pop(field) for field in KEPT_FIELDS if field in fields}
    if not is_kept:
        return {}
    if template.floor is not None:
        given["confirm_interval"] = max(given.get("confirm_interval", _CONFIRM_INTERVAL), template.floor.interval)
    return {"kept": _kept_as(**given)}


@functools.lru_cache(maxsize=1024)
def _kept_as(**fields: Any) -> Kept:  # noqa: ANN401  # the fields have different types
    """Return the same record for the same fields, as `_way` does."""
    return Kept(**fields)


@functools.lru_cache(maxsize=1024)
def _tls(**fields: Any) -> Tls:  # noqa: ANN401  # the fields have different types
    """Return the same record for the same fields, as `_way` does."""
    return Tls(**fields)


@functools.lru_cache(maxsize=1024)
def _way(**fields: Any) -> Way:  # noqa: ANN401  # the fields have different types
    """Return the same record for the same fields, because thousands of checks may have it."""
    return Way(**fields)
