"""Compares every answer that a test reads with the description of the API."""

import functools
import json
from typing import Any

import aiohttp
import jsonschema

from lvs_healthd.api.description import described


@functools.cache
def description() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(described())
    return found


def check(method: str, path: str, status: int, kind: str, body: bytes) -> None:
    """Compare an answer with the description. Other paths, and what HTTP itself refuses, are not in it."""
    operation = description()["paths"].get(path, {}).get(method.lower())
    if operation is None or status in {400, 405, 421} or (status == 500 and kind == "application/json"):
        return
    answers = operation["responses"]
    assert str(status) in answers, f"{method} {path}: status {status} is not described"
    content = answers[str(status)].get("content", {})
    if not content:
        return
    assert kind in content, f"{method} {path}: {kind} is not described"
    if kind == "application/json" and method != "HEAD":
        schema = {**content[kind]["schema"], "components": description()["components"]}
        jsonschema.validate(json.loads(body), schema)


class DescribedResponse(aiohttp.ClientResponse):
    """An answer that is compared when it is read."""

    async def read(self) -> bytes:
        body = await super().read()
        check(self.method, self.url.path, self.status, self.content_type, body)
        return body
