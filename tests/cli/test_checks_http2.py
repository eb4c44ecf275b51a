"""`lvs-healthd checks try` with checks over HTTP/2: what it shows, and that it shows no secret in any encoding."""

from pathlib import Path

from hpack import Encoder

from tests.daemon_process import run_cli
from tests.probes.http2_peer import Peer, over_network
from tests.probes.peers import stream_server

SECRET = "hunter2secret"


def repeats(peer: Peer, stream: int, fields: dict[str, str], _body: bytes) -> None:
    """Answer with the request's Authorization, in the headers and in the body."""
    said = fields.get("authorization", "")
    peer.say(stream, [(":status", "200"), ("x-said", said)], said.encode() or b"ok")


async def test_frames_are_named_and_the_secret_is_not_shown_in_any_encoding(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(SECRET)
    token.chmod(0o600)
    async with stream_server(over_network(repeats)) as port:
        keys = (f'token_file="{token}"', 'http_version="2"', 'body="no"')
        code, out, err = await run_cli("checks", "try", "http", f"127.0.0.1:{port}", *keys)
    assert (code, err) == (3, "")
    lines = [line.split("ms  ", 1)[-1] for line in out.splitlines()]
    assert any(line.startswith("sent") and "preface, SETTINGS, WINDOW_UPDATE, HEADERS" in line for line in lines)
    assert any(line.startswith("received") and "HEADERS, DATA" in line for line in lines)
    packed = Encoder().encode([("authorization", f"Bearer {SECRET}")])[-9:]
    assert not any(word in out for word in (SECRET, SECRET[4:], "".join(f"\\x{byte:02x}" for byte in packed), "Bearer"))


async def test_frames_of_grpc_are_named() -> None:
    async with stream_server(over_network(repeats)) as port:
        code, out, _ = await run_cli("checks", "try", "grpc", f"127.0.0.1:{port}")
    assert code == 3
    assert "preface, SETTINGS, WINDOW_UPDATE, HEADERS, DATA" in out
