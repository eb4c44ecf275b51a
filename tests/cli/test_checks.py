"""The verb `checks`: the list, one check, and a trial on a server."""

import base64
import json
from pathlib import Path

import pytest

from lvs_healthd.cli.checks import _USAGE
from tests.daemon_process import run_cli
from tests.probes.peers import answering, free_port, silent, stream_server

ROOT = Path(__file__).parents[2]


async def test_every_ready_made_check_is_listed_with_what_it_is_for() -> None:
    code, out, _ = await run_cli("checks")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == sorted(
        path.stem for path in (ROOT / "checks").glob("*.toml")
    )
    code, out, _ = await run_cli("checks", "--json")
    redis = next(each for each in json.loads(out) if each["name"] == "redis")
    assert redis["type"] == "tcp"
    assert redis["description"] == "Redis or Valkey answers PING, or wants a password first."
    assert redis["file"] == str(ROOT / "checks" / "redis.toml")


async def test_one_check_is_its_file() -> None:
    code, out, _ = await run_cli("checks", "redis")
    assert code == 0
    assert out.endswith((ROOT / "checks" / "redis.toml").read_text())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("reddis",), 'no ready-made check "reddis"; did you mean "redis"?'),
        (("try", "zzz", "127.0.0.1:1"), 'no ready-made check "zzz"; see: lvs-healthd checks'),
        (("try", "redis"), f"usage: {_USAGE}"),
        (("try", "redis", "127.0.0.1"), "which port? lvs-healthd checks try redis 127.0.0.1:PORT"),
        (("try", "redis", "::1"), "which port? lvs-healthd checks try redis [::1]:PORT"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_usage(words: tuple[str, ...], said: str) -> None:
    code, _, err = await run_cli("checks", *words)
    assert (code, err.strip()) == (2, f"lvs-healthd checks: {said}")


async def test_own_check_with_mistakes_names_them(tmp_path: Path) -> None:
    (tmp_path / "checks").mkdir()
    file = tmp_path / "checks" / "mine.toml"
    file.write_text('description = "x"\ntype = "tcp"\nintervall = "1s"\n')
    config = str(tmp_path / "config.toml")
    for words in (("mine",), ("try", "mine", "127.0.0.1:1"), ()):
        code, _, err = await run_cli("checks", *words, "--config", config)
        assert (code, err.strip()) == (1, f'{file}:3: intervall: unknown key; did you mean "interval"?')


async def test_trial_shows_each_step_and_what_came_of_it() -> None:
    async with stream_server(answering(b"+PONG\r\n", until=b"QUIT\r\n")) as port:
        code, out, _ = await run_cli("checks", "try", "redis", f"127.0.0.1:{port}")
    assert code == 0
    lines = [line.partition(" ms  ")[2] or line for line in out.splitlines()]
    assert lines[:-1] == [
        "connected",
        'sent      12 bytes: "PING\\x0d\\x0aQUIT\\x0d\\x0a"',
        'received  7 bytes: "+PONG\\x0d\\x0a"',
    ]
    assert lines[-1].startswith("up: answered as expected (")


async def test_trial_of_a_server_that_is_not_well_is_3() -> None:
    code, out, _ = await run_cli("checks", "try", "tcp", f"127.0.0.1:{free_port()}", "--json")
    assert (code, json.loads(out)["reason"]) == (3, "refused")
    async with stream_server(silent) as port:
        code, out, _ = await run_cli("checks", "try", "redis", f"127.0.0.1:{port}", 'timeout = "200ms"')
    assert code == 3
    assert "nothing more within 200ms" in out


async def test_keys_can_be_changed_and_a_wrong_one_is_told() -> None:
    code, _, err = await run_cli("checks", "try", "dns", "127.0.0.1:1")
    assert (code, "query is missing" in err) == (1, True)
    code, out, _ = await run_cli("checks", "try", "dns", f"127.0.0.1:{free_port()}", 'query="."', 'over="tcp"')
    assert (code, "connection refused" in out) == (3, True)


async def test_program_is_tried_without_a_daemon(tmp_path: Path) -> None:
    keys = ('command = ["/bin/echo", "{address}"]', 'convention = "mon"')
    code, out, _ = await run_cli("checks", "try", "exec", "198.51.100.7", *keys, "--config", str(tmp_path / "c.toml"))
    assert code == 0
    assert "up: exit status 0: 198.51.100.7 198.51.100.7 (" in out


async def test_secrets_are_not_shown() -> None:
    async with stream_server(answering(b"-ERR AUTH hunter2\r\n", until=b"\n")) as port:
        keys = ('send = "AUTH hunter2\\n"', 'expect = "+OK"', 'timeout = "200ms"')
        _, out, _ = await run_cli("checks", "try", "tcp", f"127.0.0.1:{port}", *keys)
    assert "hunter2" not in out
    assert "(hidden)" in out


@pytest.mark.parametrize("key", ["password_file", "token_file"])
async def test_secret_from_a_file_is_not_shown_and_the_rest_of_the_request_is(tmp_path: Path, key: str) -> None:
    """A server may repeat a password that it was sent encoded."""
    file = tmp_path / "secret"
    file.write_text("hunter2secret")
    keys = [f'{key} = "{file}"', *(['user = "monitor"'] if key == "password_file" else [])]
    async with stream_server(answering(b"HTTP/1.1 200 OK\r\n\r\nwrong: hunter2secret")) as port:
        _, out, _ = await run_cli("checks", "try", "http", f"127.0.0.1:{port}", *keys, 'body = "fine"')
    assert "hunter2" not in out
    assert base64.b64encode(b"monitor:hunter2secret").decode().rstrip("=") not in out
    sent, received = (line for line in out.splitlines() if " bytes: " in line)
    assert '"GET / HTTP/1.1\\x0d\\x0a' in sent
    assert "Authorization: (hidden)\\x0d" in sent
    assert received.endswith('"HTTP/1.1 200 OK\\x0d\\x0a\\x0d\\x0awrong: (hidden)"')
