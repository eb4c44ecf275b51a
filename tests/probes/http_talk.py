"""Answers to http checks, and conversations that are fed with them by hand."""

from lvs_healthd.config.check_model import AnyCheck, HttpCheck
from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.outcome import Outcome
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.probing.once import run_once

PASSED = "status 200, body as expected"


def check(**keys: object) -> HttpCheck:
    fields = {"name": "http", "address": "127.0.0.1", "port": 80, "host": "web.example", **keys}
    return HttpCheck(**fields)  # type: ignore[arg-type]


def answer(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(body: bytes, size: int = 5) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def feed(asked: HttpCheck, *pieces: bytes) -> Outcome | None:
    """Return the outcome of a conversation in which these pieces arrive, as far as it is known before the end."""
    exchange = http_exchanges(asked)()
    exchange.connected()
    for piece in pieces:
        step = exchange.received(piece)
        if step is not None:
            assert isinstance(step, Outcome)
            return step
    return None


def judged(asked: HttpCheck, *pieces: bytes) -> str:
    outcome = feed(asked, *pieces)
    assert outcome is not None
    return outcome.detail


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


async def outcomes(*checks: AnyCheck) -> list[Outcome]:
    """Run each check once, and return what was found, in the order of the checks."""
    results = await run_once(checks)
    return [results[probe_key(each)].outcome for each in checks]


async def found(*checks: AnyCheck) -> list[str]:
    """Run each check once, and return what was found in words, in the order of the checks."""
    return [outcome.detail for outcome in await outcomes(*checks)]
