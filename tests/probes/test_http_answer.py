"""An http check reads what clients read: a table of odd answers, tried on our exchange and on the real curl."""

import asyncio
import shutil

import pytest

from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.http_answer import MOST_CHUNK_LINES, MOST_LINES, AnswerEnd, ChunkReader
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


@pytest.mark.parametrize(
    "line",
    [b"content-length", b"Content-Length-", b"content-length: x", b"Content-Length : 1", b"c", b" content-length"],
)
def test_head_that_is_not_well_formed_is_read_the_same_in_one_piece_and_in_two(line: bytes) -> None:
    for end in (b"\r\n", b"\r\n\r\n", b"\r\nX: y\r\n\r\n"):
        head = b"HTTP/1.1 200 OK\r\nServer: x\r\n" + line + end
        assert judge(head, len(head)) == judge(head, len(head) - 1)


@pytest.mark.parametrize("size", [65536, 1000])
def test_headers_of_thousands_of_lines_are_refused_and_few_are_not(size: int) -> None:
    few = b"HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\n" + b"a:\n" * (MOST_LINES - 3)
    assert judge(few + b"\n", size).detail == "status 200"
    assert judge(few + b"b:\n\n", size).detail == f'more than {MOST_LINES} lines of headers: "b:"'
    ordinary = b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * MOST_LINES + b"\r\n"
    assert judge(ordinary, size).detail == f'more than {MOST_LINES} lines of headers: "a: b"'
    folded = b"HTTP/1.1 200 OK\nX: y\n" + b" z\n" * MOST_LINES
    assert "lines of headers" in judge(folded, size, body="x").detail


@pytest.mark.parametrize("size", [65536, 1000])
@pytest.mark.parametrize("chunk", [b"1\nx\n", b"1\r\nx\r\n"])
def test_body_in_thousands_of_tiny_chunks_is_refused_and_one_in_few_is_not(chunk: bytes, size: int) -> None:
    head = b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n"
    few = chunk * (MOST_CHUNK_LINES // 2 - 1)
    assert judge(head + few + b"0\n\n", size, body_regex=r"\Ax+\z").kind is OutcomeKind.UP
    many = judge(head + few + chunk * 2, size, body="never")
    assert many.detail == f'broken HTTP body: more than {MOST_CHUNK_LINES} lines of chunks and trailers: "1"'
    trailers = judge(head + b"0\n" + b"a\n" * MOST_CHUNK_LINES, size, body_regex="never")
    assert trailers.detail == f'broken HTTP body: more than {MOST_CHUNK_LINES} lines of chunks and trailers: "a"'


def test_answer_of_too_many_lines_is_the_last_one_on_its_connection() -> None:
    end = AnswerEnd(has_body=True)
    end.feed(b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n")
    assert not end.is_last
    end.feed(b"1\nx\n" * MOST_CHUNK_LINES)
    assert end.is_last
