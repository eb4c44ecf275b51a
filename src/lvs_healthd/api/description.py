"""Describes the API for programs (OpenAPI 3.1), made of the records that it answers with."""

import http
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeGuard

import msgspec

from lvs_healthd import __version__
from lvs_healthd.api.answers import Refusal
from lvs_healthd.runtime.docstrings import docs_of
from lvs_healthd.view.director_values import DirectorValues
from lvs_healthd.view.hold_values import HoldOutcome
from lvs_healthd.view.override_values import OverrideOutcome, OverrideValues
from lvs_healthd.view.reload_values import ReloadOutcome
from lvs_healthd.view.serving import ServingAnswer
from lvs_healthd.view.status_values import Status
from lvs_healthd.view.table_values import Listing
from lvs_healthd.view.why_values import Why

PATH = "/api/v1/openapi.json"

_TEXT = "text/plain"
_JSON = "application/json"
_SCHEMAS = "#/components/schemas/"


class Endpoint(NamedTuple):
    """What one path answers, and to whom."""

    path: str
    summary: str
    answers: dict[int, Any]
    """For each status the record, or the media type of what is not JSON."""
    method: str = "get"
    query: Mapping[str, str] = MappingProxyType({})
    """What may be in the query, and what it means."""
    is_private: bool = False
    """Whether it is answered on the control socket only."""


_SERVICE = {"service": 'A service: its name, its address, or "fwmark N". Left out: all of them.'}
_ALL = {"all": "There at all: the mark services of path probes too."}
_SERVER = {"service": _SERVICE["service"], "server": "The address of a real server, with or without its port."}
_ORDER = {
    "verb": "drain, disable, enable or weight.",
    "service": "The service's name, address or firewall mark; may have wildcards.",
    "server": "The address of a server, with or without its port; may be there several times.",
    "everywhere": "The address of a machine that is meant in all its services, in place of a service.",
    "weight": "For weight: from 0 to 65535.",
    "reason": "Why, one line.",
    "until": "When it ends by itself, Unix time.",
    "deadline": "For drain: when a server is removed though it has connections, Unix time.",
    "force": "true: even if this leaves a service without a real server.",
}
_FORCE = {"force": "true: even if this takes out more servers than reload_guard allows."}
_REASON = {**_SERVICE, "reason": "Why, one line."}
_NOT_FOUND = {404: Refusal}
_NOT_YOU = {403: Refusal}

AFTER_START = ("/api/v1/", "/page/")
"""Where the paths begin that only a daemon that has started can answer; before, it is 503. A scraper and a watchdog are
answered from the beginning."""

ENDPOINTS = (
    Endpoint("/", "What there is, as text; a browser is led to the page", {200: _TEXT, 307: None}),
    Endpoint("/healthz", "Whether the daemon itself makes progress", {200: _TEXT, 503: _TEXT}),
    Endpoint("/metrics", "For Prometheus", {200: _TEXT}),
    Endpoint("/page/", "The status page for browsers", {200: "text/html", 400: Refusal, 503: "text/html"}),
    Endpoint(PATH, "This description", {200: dict}),
    Endpoint("/api/v1/status", "Every service and every real server", {200: Status}),
    Endpoint("/api/v1/director", "How this director is configured and set", {200: DirectorValues}),
    Endpoint(
        "/api/v1/table",
        "The kernel's table beside the wanted one",
        {200: Listing, **_NOT_FOUND},
        query={**_SERVICE, **_ALL},
    ),
    Endpoint(
        "/api/v1/connections",
        "The kernel's connections, a line each",
        {200: _TEXT, **_NOT_YOU, **_NOT_FOUND},
        query=_SERVICE,
        is_private=True,
    ),
    Endpoint(
        "/api/v1/why",
        "Why a real server is as it is, and what has happened to it",
        {200: Why, **_NOT_YOU, **_NOT_FOUND},
        query=_SERVER,
        is_private=True,
    ),
    Endpoint(
        "/api/v1/ok", "Whether services may serve on this director", {200: ServingAnswer, **_NOT_FOUND}, query=_SERVICE
    ),
    Endpoint("/api/v1/ipvsadm/wanted", "The table we want, for ipvsadm -R", {200: _TEXT}, query=_ALL),
    Endpoint("/api/v1/ipvsadm/actual", "The kernel's table as last read, for ipvsadm -R", {200: _TEXT}, query=_ALL),
    Endpoint("/api/v1/overrides", "What operators have ordered", {200: tuple[OverrideValues, ...]}),
    Endpoint(
        "/api/v1/overrides",
        "Give an order",
        {200: OverrideOutcome, 400: Refusal, **_NOT_YOU, 422: OverrideOutcome},
        method="post",
        query=_ORDER,
        is_private=True,
    ),
    *(
        Endpoint(
            path,
            summary,
            {200: ReloadOutcome, 400: Refusal, **_NOT_YOU, 422: ReloadOutcome},
            method="post",
            query=_FORCE,
            is_private=True,
        )
        for path, summary in (
            ("/api/v1/reload", "Read the configuration again"),
            ("/api/v1/reload/dry-run", "Say what a reload would change, and change nothing"),
        )
    ),
    *(
        Endpoint(
            path,
            summary,
            {200: HoldOutcome, 400: Refusal, **_NOT_YOU, **_NOT_FOUND, 409: Refusal},
            method="post",
            query=query,
            is_private=True,
        )
        for path, summary, query in (
            ("/api/v1/hold", "Write nothing to the table, or to a service", _REASON),
            ("/api/v1/release", "Write again", _SERVICE),
        )
    ),
)
"""Everything that is asked for by name. Nearly all of it is read-only."""


def described() -> bytes:
    """Return the description as JSON."""
    records = {
        answer for each in ENDPOINTS for answer in each.answers.values() if answer is not None and not _is_text(answer)
    }
    ordered = sorted(records - {dict}, key=str)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=_SCHEMAS + "{name}")
    of = dict(zip(ordered, schemas, strict=True)) | {dict: {"type": "object"}}
    for record in _records(ordered):
        for field, text in docs_of(record).items():
            if text and field in components[record.__name__]["properties"]:
                _describe(components[record.__name__]["properties"], field, text)
    paths: dict[str, dict[str, object]] = {}
    for each in ENDPOINTS:
        paths.setdefault(each.path, {})[each.method] = _operation(each, of)
    about = (
        "Times are Unix time in seconds, durations end in _s. What is marked is answered on the control socket only."
    )
    info = {"title": "lvs-healthd", "version": __version__, "description": about}
    return msgspec.json.encode(
        {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": components}}
    )


def _operation(each: Endpoint, of: dict[Any, dict[str, Any]]) -> dict[str, object]:
    parameters = [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in each.query.items()
    ]
    possible = {503: Refusal, **each.answers} if each.path.startswith(AFTER_START) else each.answers
    answers = {str(status): _answer(status, answer, of) for status, answer in sorted(possible.items())}
    private = {"description": "On the control socket only."} if each.is_private else {}
    return {"summary": each.summary, **private, "parameters": parameters, "responses": answers}


def _answer(status: int, answer: object, of: dict[Any, dict[str, Any]]) -> dict[str, object]:
    said = {"description": http.HTTPStatus(status).phrase}
    if answer is None:
        return {**said}
    if _is_text(answer):
        return {**said, "content": {answer: {"schema": {"type": "string"}}}}
    return {**said, "content": {_JSON: {"schema": of[answer]}}}


def _is_text(answer: object) -> TypeGuard[str]:
    return isinstance(answer, str)


def _describe(properties: dict[str, dict[str, Any]], field: str, text: str) -> None:
    properties[field] = {**properties[field], "description": text}


def _records(answers: list[Any]) -> Iterator[type[msgspec.Struct]]:
    """Yield every record in the answers, each once."""
    seen: set[type] = set()
    left: list[object] = [msgspec.inspect.type_info(each) for each in answers]
    while left:
        info = left.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in seen:
                continue
            seen.add(info.cls)
            yield info.cls
            left += [field.type for field in info.fields]
        elif isinstance(info, msgspec.inspect.UnionType):
            left += info.types
        elif isinstance(info, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
            left.append(info.item_type)
        elif isinstance(info, msgspec.inspect.DictType):
            left.append(info.value_type)
