"""http and https checks over HTTP/2: the conditions of HTTP/1.1, and peers that break the protocol or flood it."""

import gc
import gzip
import hashlib
import ssl
import struct
import time
from pathlib import Path

import pytest
import trustme
from h2.connection import H2Connection
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.check_model import HttpCheck, HttpsCheck, Tls
from lvs_healthd.probes.exchange import Farewell, Step
from lvs_healthd.probes.http2_frames import LARGEST, MOST_SMALL_FRAMES, SMALL
from lvs_healthd.probes.http_over_2 import http2_exchanges
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason
from lvs_healthd.probes.proxy import HEADERS as PROXY_HEADERS
from tests.probes.http2_peer import (
    CONTINUATION,
    DATA,
    HEADERS,
    PING,
    PRIORITY,
    PUSH,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Fields,
    Peer,
    frame,
    goaway,
    over_network,
    says,
    talk,
    talk_raw,
)
from tests.probes.http_talk import check, outcomes
from tests.probes.nginx import nginx
from tests.probes.peers import answering, free_port, stream_server
from tests.ready_made.servers import running

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
OK = frame(HEADERS, b"\x88", flags=0x4, stream=1)
"""The headers of an answer with the status 200, after which a body follows."""
END = 0x1


def over2(**keys: object) -> HttpCheck:
    return check(http_version="2", **keys)


def judged(asked: HttpCheck, status: int, body: bytes = b"", *fields: tuple[str, str]) -> str:
    return talk(http2_exchanges(asked), says(status, body, *fields)).outcome.detail


def told(step: Step) -> str:
    assert isinstance(step, Outcome)
    return step.detail


def raw(*pieces: bytes, **keys: object) -> Outcome:
    return talk_raw(http2_exchanges(over2(**keys)), pieces).outcome


@pytest.mark.parametrize("cut", [None, 1, 7])
def test_request_is_what_clients_send_and_the_connection_is_left_in_good_order(cut: int | None) -> None:
    asked: list[tuple[dict[str, str], bytes]] = []

    def answer(peer: Peer, stream: int, fields: dict[str, str], body: bytes) -> None:
        asked.append((fields, body))
        says(200, b"ok")(peer, stream, fields, body)

    made = talk(http2_exchanges(over2(path="/a?b=1", headers=(("X-Y", "z"),))), answer, cut=cut)
    assert made.sent.startswith(PREFACE)
    assert asked == [
        (
            {
                ":method": "GET",
                ":scheme": "http",
                ":authority": "web.example",
                ":path": "/a?b=1",
                "user-agent": "lvs-healthd",
                "accept": "*/*",
                "x-y": "z",
            },
            b"",
        )
    ]
    assert isinstance(made.last, Farewell)
    assert (made.outcome.kind, made.outcome.detail, made.last.peer_may_close) == (OutcomeKind.UP, "status 200", True)
    # The status alone counts, so the answer is cancelled (8), and the connection ends (0).
    assert made.last.data.endswith(frame(RST_STREAM, struct.pack("!I", 8), stream=1) + goaway(0))


def test_body_is_sent_as_the_peer_s_window_allows() -> None:
    asked: list[bytes] = []

    def answer(peer: Peer, stream: int, _fields: dict[str, str], body: bytes) -> None:
        asked.append(body)
        peer.say(stream, [(":status", "204")])

    text = "x" * 200_000
    made = talk(http2_exchanges(over2(method="POST", send_body=text)), answer)
    assert (made.outcome.detail, asked) == ("status 204", [text.encode()])


BODY = b'{"status": "ok", "n": 1}'
SHA = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


@pytest.mark.parametrize(
    ("keys", "detail"),
    [
        ({"status": ((200, 200),)}, "status 200"),
        ({"status": ((404, 404),)}, "status 200, expected 404"),
        ({"body": "ok"}, "status 200, body as expected"),
        ({"body": "no"}, f'expected text not in the body: "{BODY.decode()}"'),
        ({"body_regex": r"\An"}, f'match of body_regex not in the body: "{BODY.decode()}"'),
        ({"absent": "ok"}, 'unwanted text in the body: "ok"'),
        ({"absent": "no"}, "status 200, body as expected"),
        ({"json": (("status", '"ok"'),)}, "status 200, body as expected"),
        ({"json": (("n", "2"),)}, "JSON field n is 1, expected 2"),
        ({"digest": SHA}, "status 200, body as expected"),
        ({"digest": SHA[:-2] + "00"}, f"the body has another digest: {SHA}"),
        ({"expect_headers": (("X-Ready", "yes"),)}, "status 200"),
        ({"expect_headers": (("X-Ready", "no"),)}, 'header X-Ready is "yes", expected "no"'),
        ({"expect_headers_regex": (("x-ready", "^y"),), "body": "ok"}, "status 200, body as expected"),
        ({"method": "HEAD"}, "status 200"),
    ],
)
@pytest.mark.parametrize("has_length", [True, False])
def test_conditions_are_those_of_http_1_1(keys: dict[str, object], detail: str, has_length: bool) -> None:
    fields = [("x-ready", "yes"), *([("content-length", str(len(BODY)))] if has_length else [])]
    body = b"" if keys.get("method") == "HEAD" else BODY
    assert judged(over2(**keys), 200, body, *fields) == detail
    packed = gzip.compress(BODY, mtime=0)
    if {"body", "json", "digest", "absent", "body_regex"} & keys.keys():
        assert judged(over2(**keys), 200, packed, ("content-encoding", "gzip"), *fields[:1]) == detail


def test_large_body_in_several_frames_and_one_larger_than_max_body() -> None:
    body = b"x" * 300_000 + b"end"
    assert judged(over2(body="end", max_body=400_000), 200, body) == "status 200, body as expected"
    assert judged(over2(body="end", max_body=300_000), 200, body).startswith("expected text not in the first 300000")


def test_interim_answers_and_trailers_are_passed_over() -> None:
    def answer(peer: Peer, stream: int, _fields: dict[str, str], _body: bytes) -> None:
        peer.h2.send_headers(stream, [(":status", "103"), ("link", "</a>")])
        peer.say(stream, [(":status", "200")], b"ok", trailers=[("x-checksum", "1")])

    made = talk(http2_exchanges(over2(body="no")), answer)
    assert made.outcome.detail == 'expected text not in the body: "ok"'


def test_redirects_are_followed_on_the_same_connection() -> None:
    asked: list[str] = []

    def answer(peer: Peer, stream: int, fields: dict[str, str], body: bytes) -> None:
        asked.append(fields[":path"])
        moved: Fields = [(":status", "302"), ("location", f"/{len(asked)}")]
        if len(asked) == 1:
            peer.say(stream, moved, b"moved", b"")
        elif len(asked) == 2:
            peer.say(stream, [*moved, ("content-length", "5")], b"moved")
        elif len(asked) == 3:
            peer.say(stream, [*moved, ("content-length", "0")])
        else:
            peer.say(stream, [(":status", "200")], b"ok")

    made = talk(http2_exchanges(over2(redirects=3, body="ok")), answer)
    assert (made.outcome.detail, asked) == ("status 200, body as expected", ["/", "/1", "/2", "/3"])
    asked.clear()
    made = talk(http2_exchanges(over2(redirects=1, body="ok")), answer)
    assert made.outcome.detail == 'status 302 to "/2", after 1 redirects'


def test_secret_is_sent_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2secret")

    def answer(peer: Peer, stream: int, fields: dict[str, str], _body: bytes) -> None:
        peer.say(stream, [(":status", "200")], fields["authorization"].encode())

    made = talk(http2_exchanges(over2(token_file=str(file), body="no")), answer)
    assert "hunter2" not in made.outcome.detail
    assert "expected text not in the body" in made.outcome.detail


# What peers do wrong


def test_server_of_http_1_1_is_named_as_such() -> None:
    found = raw(b"HTTP/1.1 400 Bad Req", b"uest\r\n\r\n")
    assert found.reason is Reason.PROTOCOL_ERROR
    assert found.detail == 'no HTTP/2, but "HTTP/1.1 400 Bad Req"; write http_version = "1.1"'


SETTINGS_FRAME = frame(SETTINGS)


@pytest.mark.parametrize(
    ("pieces", "reason", "words"),
    [
        ((b"SSH-2.0-OpenSSH_9.2\r\n",), Reason.PROTOCOL_ERROR, "broken HTTP/2: "),
        ((b"\xff" * 30,), Reason.PROTOCOL_ERROR, 'broken HTTP/2: "a frame of 16777215 bytes; at most 16384'),
        ((SETTINGS_FRAME, frame(HEADERS, b"\xff" * 9, flags=0x5, stream=1)), Reason.PROTOCOL_ERROR, "broken HTTP/2: "),
        ((SETTINGS_FRAME, frame(DATA, b"x", stream=1)), Reason.PROTOCOL_ERROR, "broken HTTP/2: "),
        ((SETTINGS_FRAME, frame(PUSH, bytes(20), flags=4, stream=1)), Reason.PROTOCOL_ERROR, "broken HTTP/2: "),
        ((frame(SETTINGS, b"x"),), Reason.PROTOCOL_ERROR, "broken HTTP/2: "),
        ((SETTINGS_FRAME, goaway(0)), Reason.CLOSED_EARLY, "the server ends the connection (GOAWAY): NO_ERROR"),
        ((SETTINGS_FRAME, goaway(1, 11)), Reason.CLOSED_EARLY, "(GOAWAY): ENHANCE_YOUR_CALM"),
        ((SETTINGS_FRAME, goaway(1, 99)), Reason.CLOSED_EARLY, "(GOAWAY): error 99"),
        ((frame(7, b"x"),), Reason.PROTOCOL_ERROR, "a malformed GOAWAY frame"),
        (
            (SETTINGS_FRAME, frame(RST_STREAM, struct.pack("!I", 7), stream=1)),
            Reason.RESET,
            "the server gave the request up (RST_STREAM): REFUSED_STREAM",
        ),
    ],
)
def test_peer_that_breaks_or_ends_the_protocol_is_down_with_words(
    pieces: tuple[bytes, ...], reason: Reason, words: str
) -> None:
    found = raw(*pieces)
    assert (found.kind, found.reason) == (OutcomeKind.DOWN, reason)
    assert words in found.detail
    assert len(found.detail) < 200


def test_server_that_shuts_down_in_good_order_still_answers() -> None:
    found = raw(SETTINGS_FRAME + goaway(1) + OK + frame(DATA, b"ok", flags=END, stream=1), body="ok")
    assert found.detail == "status 200, body as expected"


def test_length_that_the_body_does_not_have() -> None:
    made = talk(http2_exchanges(over2(body="x")), says(200, b"ok", ("content-length", "2")))
    assert made.outcome.detail == 'expected text not in the body: "ok"'
    head = frame(HEADERS, b"\x88\x0f\x0d\x015", flags=0x4, stream=1)  # content-length: 5, without an index
    found = raw(SETTINGS_FRAME + head + frame(DATA, b"ok", flags=END, stream=1), body="x")
    assert found.reason is Reason.PROTOCOL_ERROR


def test_connection_that_ends_before_the_answer() -> None:
    exchange = http2_exchanges(over2(body="ok"))()
    exchange.connected()
    assert exchange.received(SETTINGS_FRAME)
    assert told(exchange.closed()) == "connection closed without an answer"
    assert exchange.expired("1s").detail == "connected, but no answer in 1s"
    exchange.received(OK + frame(DATA, b"o", stream=1))
    assert told(exchange.closed()) == "connection closed before the end of the answer"
    assert exchange.expired("1s").detail == "body incomplete after 1s (1 bytes)"


MANY = MOST_SMALL_FRAMES + 50
FLOODS = {
    "SETTINGS": frame(SETTINGS, struct.pack("!HI", 4, 70000)) * MANY,
    "SETTINGS of 16 KiB": frame(SETTINGS, struct.pack("!HI", 0x99, 1) * 2730) * 20,
    "PING": SETTINGS_FRAME + frame(PING, b"12345678") * MANY,
    "empty DATA": SETTINGS_FRAME + OK + frame(DATA, stream=1) * MANY,
    "DATA of a byte": SETTINGS_FRAME + OK + frame(DATA, b"x", stream=1) * MANY,
    "WINDOW_UPDATE": SETTINGS_FRAME + frame(WINDOW_UPDATE, struct.pack("!I", 1)) * MANY,
    "PRIORITY": SETTINGS_FRAME + frame(PRIORITY, struct.pack("!IB", 0, 1), stream=3) * MANY,
    "unknown": SETTINGS_FRAME + frame(0x77, b"x") * MANY,
    "RST_STREAM of others": SETTINGS_FRAME + frame(RST_STREAM, bytes(4), stream=2) * MANY,
    "CONTINUATION": SETTINGS_FRAME + frame(HEADERS, b"", stream=1) + frame(CONTINUATION, b"", stream=1) * MANY,
    "headers of 16 KiB": SETTINGS_FRAME
    + frame(HEADERS, b"\x82" * LARGEST, stream=1)
    + frame(CONTINUATION, b"\x82" * LARGEST, stream=1) * 9,
    "headers by one byte": SETTINGS_FRAME + frame(HEADERS, b"\x88" + b"\x90" * 16000, flags=4, stream=1),
    "interim answers": SETTINGS_FRAME + frame(HEADERS, b"\x08\x03103", flags=4, stream=1) * MANY,
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("size", [65536, 100])
def test_flood_of_frames_ends_the_probe(flood: str, size: int) -> None:
    data = FLOODS[flood]
    made = talk_raw(http2_exchanges(over2(body="never")), (data[at : at + size] for at in range(0, len(data), size)))
    assert made.outcome.kind is OutcomeKind.DOWN
    assert made.outcome.reason in {Reason.TOO_LARGE, Reason.PROTOCOL_ERROR}, made.outcome.detail
    # It ends at the first frame too many, and does not wait for the rest.
    assert made.exchange._connection._reader._small <= MOST_SMALL_FRAMES  # type: ignore[attr-defined]


NAMED = b"\x40\x01x\x01y"
"""A field that is entered into the table of known fields. From then on, one byte means it: its index is 62."""


def test_fields_that_are_sent_again_and_again_are_counted_as_if_they_were_written_out() -> None:
    first = frame(HEADERS, b"\x08\x03103" + NAMED, flags=4, stream=1)
    more = frame(HEADERS, b"\x08\x03103" + b"\xbe" * 1000, flags=4, stream=1)
    found = raw(SETTINGS_FRAME + first + more * 60)
    assert (found.reason, found.detail) == (Reason.TOO_LARGE, "more than 65536 bytes of headers, and no end")


def test_headers_on_the_stream_of_an_earlier_answer_end_the_probe() -> None:
    moved = frame(HEADERS, b"\x08\x03302\x0f\x1f\x02/1\x0f\x0d\x010", flags=5, stream=1)
    late = frame(HEADERS, b"\x88", flags=5, stream=1)
    found = raw(SETTINGS_FRAME + moved + late * 9, redirects=1)
    assert (found.reason, found.detail) == (Reason.PROTOCOL_ERROR, 'broken HTTP/2: "StreamClosedError"')


MOVED = frame(HEADERS, b"\x08\x03302\x0f\x1f\x02/1\x0f\x0d\x010", flags=5, stream=1)
"""A whole answer that redirects to /1."""


def test_server_that_redirects_and_allows_no_further_request_is_down() -> None:
    no_stream = frame(SETTINGS, struct.pack("!HI", 3, 0))
    found = raw(no_stream + MOVED, redirects=1)
    assert (found.kind, found.reason) == (OutcomeKind.DOWN, Reason.PROTOCOL_ERROR)
    assert found.detail == 'broken HTTP/2: "Max outbound streams is 0, 0 open"'


def test_next_request_waits_for_the_end_of_a_redirect_as_its_server_may_allow_one_at_a_time() -> None:
    one_stream = frame(SETTINGS, struct.pack("!HI", 3, 1))
    moved = frame(HEADERS, MOVED[9:], flags=0x4, stream=1)
    exchange = http2_exchanges(over2(redirects=1))()
    exchange.connected()
    said = exchange.received(one_stream + moved)
    assert isinstance(said, bytes)
    assert said == frame(SETTINGS, flags=1)
    asked = exchange.received(frame(DATA, flags=END, stream=1))
    assert isinstance(asked, bytes)
    assert asked[3] == HEADERS
    assert asked[5:9] == b"\0\0\0\3"
    step = exchange.received(frame(HEADERS, b"\x88", flags=5, stream=3))
    assert isinstance(step, Farewell)
    assert step.outcome.detail == "status 200"


def sizes_of_table(count: int) -> list[bytes]:
    """Return a block of headers that begins with this many sizes of hpack's table, whole and in parts."""
    block = b"\x3f\xe1\x1f" * (count - 1) + b"\x20\x88" if count else b"\x88"
    return [
        frame(HEADERS, block, flags=0x5, stream=1),
        frame(HEADERS, b"\x02" + bytes(5) + block + b"\0\0", flags=0x5 | 0x8 | 0x20, stream=1),  # padded, with priority
        frame(HEADERS, b"", flags=END, stream=1) + frame(CONTINUATION, block, flags=0x4, stream=1),
        frame(HEADERS, block[:1], flags=END, stream=1) + frame(CONTINUATION, block[1:], flags=0x4, stream=1),
    ]


@pytest.mark.parametrize("form", range(4))
def test_block_of_headers_may_begin_with_two_sizes_of_the_table_and_no_more(form: int) -> None:
    for count in range(3):
        assert raw(SETTINGS_FRAME + sizes_of_table(count)[form]).detail == "status 200"
    found = raw(SETTINGS_FRAME + sizes_of_table(3)[form])
    assert (found.reason, found.detail) == (
        Reason.PROTOCOL_ERROR,
        'broken HTTP/2: "headers that begin with more than 2 sizes of the table"',
    )


def test_frames_that_a_healthy_server_sends_for_a_large_body_are_no_flood() -> None:
    body = frame(DATA, b"x" * SMALL, stream=1) * (MANY * 4) + frame(DATA, b"end", flags=END, stream=1)
    assert raw(SETTINGS_FRAME + OK + body, body="end", max_body=4_000_000).detail == "status 200, body as expected"


def test_what_is_answered_to_a_flood_is_bounded() -> None:
    made = talk_raw(http2_exchanges(over2()), [SETTINGS_FRAME, frame(PING, b"12345678") * 400])
    assert not made.is_over
    assert len(made.sent) < 400 * 17 + 500


def test_conversation_is_freed_without_the_garbage_collector() -> None:
    def connections() -> int:
        return sum(isinstance(each, H2Connection) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = connections()
        for _ in range(3):
            exchange = http2_exchanges(over2(body="ok"))()
            exchange.connected()
            exchange.received(SETTINGS_FRAME + OK + frame(DATA, b"o", stream=1))
            exchange.end()
            del exchange
        assert connections() == before
    finally:
        gc.enable()


@given(st.lists(st.binary(max_size=40) | st.builds(frame, st.integers(0, 12), st.binary(max_size=40)), max_size=6))
def test_whatever_a_peer_sends_is_taken_without_an_exception(pieces: list[bytes]) -> None:
    made = talk_raw(http2_exchanges(over2(body="ok", redirects=1)), [SETTINGS_FRAME + OK, *pieces])
    assert made.is_over or made.exchange.expired("1s").kind is OutcomeKind.DOWN


# Real servers


async def test_nginx_in_cleartext_and_by_alpn(tmp_path: Path) -> None:
    authority, ca, chain = trustme.CA(), tmp_path / "ca.pem", tmp_path / "server.pem"
    authority.cert_pem.write_to_path(str(ca))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(chain))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "large").write_bytes(b"x" * 1_000_000 + b"end")
    places = (
        f"root {tmp_path}/root; location = /ok {{ add_header X-Version $server_protocol; return 200 'ok'; }} "
        "location = /moved { absolute_redirect off; return 302 /ok; } location = /slow { return 503; }"
    )
    pair = f"ssl_certificate {chain}; ssl_certificate_key {chain};"
    folders = [tmp_path / name for name in ("plain", "tls", "old")]
    for folder in folders:
        folder.mkdir()
    with (
        nginx(folders[0], places, listen="http2") as plain,
        nginx(folders[1], f"{pair} {places}", listen="ssl http2") as secure,
        nginx(folders[2], f"{pair} {places}", listen="ssl") as old,
    ):
        tls = Tls(ca=str(ca))
        keys = {"name": "https", "address": "127.0.0.1", "host": "web.example", "http_version": "2", "tls": tls}
        version = (("X-Version", "HTTP/2.0"),)
        found = await outcomes(
            over2(port=plain, path="/ok", body="ok", expect_headers=version),
            over2(port=plain, path="/moved", redirects=1, body="ok"),
            over2(port=plain, path="/large", body="end", max_body=2_000_000),
            over2(port=plain, path="/absent"),
            HttpsCheck(port=secure, path="/ok", body="ok", expect_headers=version, **keys),  # type: ignore[arg-type]
            HttpsCheck(port=secure, path="/slow", **keys),  # type: ignore[arg-type]
            HttpsCheck(port=old, path="/ok", **keys),  # type: ignore[arg-type]
            over2(port=secure, path="/ok"),
        )
        log = (folders[0] / "error.log").read_text()
    passed = "status 200, body as expected"
    assert [each.detail for each in found[:7]] == [
        *(passed, passed, passed),
        "status 404, expected 200-299",
        passed,
        "status 503, expected 200-299",
        'TLS failed: tlsv1 alert no application protocol; the server speaks none of those it was offered: "h2" (alpn)',
    ]
    assert found[7].kind is OutcomeKind.DOWN
    assert [line for line in log.splitlines() if "/absent" not in line] == []


async def test_nginx_that_is_asked_for_its_last_request_still_answers(tmp_path: Path) -> None:
    """With `keepalive_requests 1` it sends GOAWAY before the answer."""
    with nginx(tmp_path, "return 200 'ok';", listen="http2", http="keepalive_requests 1;") as port:
        (found,) = await outcomes(over2(port=port, body="ok"))
    assert found.detail == "status 200, body as expected"


async def test_haproxy_in_cleartext_and_after_the_proxy_protocol(tmp_path: Path) -> None:
    plain, behind = free_port(), free_port()
    (tmp_path / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 1s\n timeout client 10s\n timeout server 1s\n"
        f"frontend front\n bind 127.0.0.1:{plain} proto h2\n bind 127.0.0.1:{behind} proto h2 accept-proxy\n"
        " http-request return status 200 content-type text/plain string ok hdr x-version %HV if { path /ok }\n"
        " http-request return status 503\n"
    )
    with running(["haproxy", "-db", "-f", tmp_path / "haproxy.cfg"], tmp_path):
        keys = {"path": "/ok", "body": "ok"}
        found: list[Outcome] = []
        for _ in range(100):
            found = await outcomes(
                over2(port=plain, **keys),
                over2(port=plain, path="/"),
                over2(port=behind, proxy_protocol=1, **keys),
                over2(port=behind, proxy_protocol=2, **keys),
            )
            if all(each.reason is not Reason.REFUSED for each in found):
                break
            time.sleep(0.05)
    passed = "status 200, body as expected"
    assert [each.detail for each in found] == [passed, "status 503, expected 200-299", passed, passed]


@pytest.mark.parametrize("version", [1, 2])
async def test_header_of_the_proxy_protocol_comes_before_the_preface(version: int) -> None:
    async with stream_server(over_network(says(200, b"ok"), PROXY_HEADERS[version])) as port:
        (found,) = await outcomes(over2(port=port, proxy_protocol=version, body="ok"))
    assert found.detail == "status 200, body as expected"


async def test_server_of_http_1_1_on_the_network() -> None:
    async with stream_server(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        (found,) = await outcomes(over2(port=port))
    assert found.detail == 'no HTTP/2, but "HTTP/1.1 400 Bad Request"; write http_version = "1.1"'


async def test_protocol_that_a_server_selects_is_h2() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with stream_server(over_network(says(200, b"ok")), tls=context) as port:
        keys = {"name": "x", "address": "127.0.0.1", "port": port, "host": "x", "tls": Tls(verify=False)}
        (found,) = await outcomes(HttpsCheck(http_version="2", body="ok", **keys))  # type: ignore[arg-type]
    assert found.detail == "status 200, body as expected"
    assert found.certificate_end is not None
