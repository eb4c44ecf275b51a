"""An http check reads what clients read: a table of odd answers, tried on our exchange and on the real curl."""

import asyncio
import shutil

import pytest

from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.http_answer import ChunkReader
from lvs_healthd.probes.outcome import Outcome, OutcomeKind
from tests.probes.odd_answers import AS_CURL_READS_THEM, AS_OTHERS_READ_THEM, Odd, Read
from tests.probes.peers import answering, stream_server

UNREADABLE_HEAD = {1, 8, 52}
"""curl(1), "EXIT CODES": unsupported protocol, weird server reply, nothing received."""


def judge(answer: bytes, size: int, **keys: str) -> Outcome:
    check = HttpCheck(name="", address="192.0.2.1", port=80, host="test", status=((100, 999),), **keys)  # type: ignore[arg-type]
    exchange = http_exchanges(check)()
    exchange.connected()
    for start in range(0, len(answer), size):
        step = exchange.received(answer[start : start + size])
        if step is not None:
            assert isinstance(step, Outcome)
            return step
    return exchange.closed()


@pytest.mark.parametrize("size", [1, 7, 65536])
@pytest.mark.parametrize("odd", AS_CURL_READS_THEM + AS_OTHERS_READ_THEM, ids=lambda odd: odd.name)
def test_odd_answer_is_read_as_far_as_clients_read_it(odd: Odd, size: int) -> None:
    status = judge(odd.answer, size)
    assert (status.kind is OutcomeKind.UP) is (odd.read is not Read.NOT), status.detail
    body = judge(odd.answer, size, body_regex=r"\Aok\z")
    assert (body.kind is OutcomeKind.UP) is (odd.read is Read.WHOLE), body.detail
    if size < len(odd.answer):
        return  # what is shown of an answer is what has arrived
    assert odd.read is not Read.NOT or status.detail == odd.detail
    assert odd.read is Read.WHOLE or body.detail == odd.detail


def test_curl_is_here_to_be_compared_with() -> None:
    assert shutil.which("curl"), "curl is not in PATH: `make packages` installs it"


async def test_curl_reads_the_same_answers() -> None:
    found = {odd.name: await as_curl_reads(odd.answer) for odd in AS_CURL_READS_THEM}
    assert found == {odd.name: odd.read for odd in AS_CURL_READS_THEM}


async def as_curl_reads(answer: bytes) -> Read:
    async with stream_server(answering(answer)) as port:
        curl = await asyncio.create_subprocess_exec(
            *("curl", "--disable", "--silent", "--noproxy", "*", "--max-time", "30", f"http://127.0.0.1:{port}/"),
            stdout=asyncio.subprocess.PIPE,
        )
        body, _ = await curl.communicate()
    if curl.returncode in UNREADABLE_HEAD:
        return Read.NOT
    return Read.WHOLE if (curl.returncode, body) == (0, b"ok") else Read.HEAD


def test_nothing_is_read_after_the_end_of_the_chunks() -> None:
    reader = ChunkReader()
    assert reader.feed(b"2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nX: ") == b"ok"
    assert reader.is_complete
    assert reader.overhead == len(b"2\r\n\r\n0\r\n\r\n")
