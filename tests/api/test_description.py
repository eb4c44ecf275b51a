"""The description of the API is whole, valid, and true of every answer that the other tests of this folder read."""

import json
import re

import aiohttp
import jsonschema
import pytest
from aiohttp import web

from lvs_healthd.api import app as endpoints
from lvs_healthd.api.description import ENDPOINTS, PATH, described
from tests.api.described import check, description

# Parts of the page, and another way to write the same question.
BESIDE = {
    "/page",
    "/page/server",
    "/page/events",
    "/page/style.css",
    "/page/script.js",
    "/api/v1/why/{service}/{server}",
}


def test_every_route_is_described_and_no_other(app: web.Application) -> None:
    routes = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD" and route.resource.canonical not in BESIDE
    }
    named = {
        (method, path.replace("{table}", table))
        for method, path in routes
        for table in (("wanted", "actual") if "{table}" in path else ("",))
    }
    assert named == {(each.method, each.path) for each in ENDPOINTS}
    assert {each.path for each in ENDPOINTS} == {"/", *re.findall(r"^(/\S+)", endpoints._INDEX, re.MULTILINE)}


def test_every_schema_is_valid_and_every_reference_leads_somewhere() -> None:
    schemas = description()["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for reference in set(re.findall(r'"#/components/schemas/(\w+)"', described().decode())):
        assert reference in schemas


async def test_it_is_served(client: aiohttp.ClientSession) -> None:
    async with client.get(PATH) as response:
        assert response.content_type == "application/json"
        assert json.loads(await response.read()) == description()


def test_fields_have_the_words_of_the_code() -> None:
    latency = description()["components"]["schemas"]["CheckStatus"]["properties"]["latency_s"]
    assert latency["description"].startswith("Duration of the last probe")


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b'{"ok": 1, "services": []}'), (200, b"{}"), (418, b'{"ok": true, "services": []}')],
)
def test_answer_that_is_not_described_is_found(status: int, body: bytes) -> None:
    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        check("GET", "/api/v1/ok", status, "application/json", body)
    check("GET", "/api/v1/ok", 200, "application/json", b'{"ok": true, "services": []}')
