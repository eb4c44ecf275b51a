"""`lvs-healthd probe` shows what was asked for, in a pipe one line a check and nothing else."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Run
from tests.probes.peers import free_port


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run("probe", monkeypatch, capsys)


class Site:
    """Two services: "web" has a server that listens and one that does not, "mail" one that listens, with two checks."""

    def __init__(self, folder: Path, port: int) -> None:
        self.up, self.down = f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}"
        self.file = folder / "config.toml"
        self.file.write_text(f"""
            [[service]]
            name = "web"
            address = "127.0.1.0:{port}"
            check = "tcp"
            real_server = ["{self.up}", "{self.down}"]

            [[service]]
            name = "mail"
            address = "127.0.1.1:{port}"
            check = ["tcp", {{ name = "again", type = "tcp" }}]
            real_server = ["{self.up}"]
        """)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Site(tmp_path, listening.getsockname()[1])


def test_in_a_pipe_each_check_is_a_line_and_nothing_else(run: Run, site: Site) -> None:
    ran = run("--config", str(site.file))
    assert (ran.code, ran.err) == (3, "")
    shown = [re.sub(r"\d+\.\d+ms", "TIME", line).split(maxsplit=5) for line in ran.out.splitlines()]
    assert shown == [
        ["web", site.up, "tcp", "up", "TIME", "connected"],
        ["web", site.down, "tcp", "down", "TIME", "connection refused"],
        ["mail", site.up, "tcp", "up", "TIME", "connected"],
        ["mail", site.up, "again", "up", "TIME", "connected"],
    ]


@pytest.mark.parametrize(
    ("words", "lines", "code"),
    [
        (["web"], [0, 1], 3),
        (["mail"], [2, 3], 0),
        (["127.0.1.1"], [2, 3], 0),
        (["web", "UP"], [0], 0),
        (["DOWN"], [1], 3),
        (["--down"], [1], 3),
        (["mail", "--down"], [], 0),
    ],
)
def test_only_what_is_named_is_probed_and_shown(
    run: Run, site: Site, words: list[str], lines: list[int], code: int
) -> None:
    def cells(*arguments: str) -> tuple[int, list[list[str]]]:
        ran = run(*arguments, "--config", str(site.file))
        return ran.code, [line.split()[:4] for line in ran.out.splitlines()]

    _, everything = cells()
    named = [{"UP": site.up, "DOWN": site.down}.get(word, word) for word in words]
    assert cells(*named) == (code, [everything[number] for number in lines])


def test_json_has_what_is_named_only(run: Run, site: Site) -> None:
    found = json.loads(run(site.down, "--json", "--config", str(site.file)).out)
    assert [(each["service"], each["server"], each["status"]) for each in found] == [("web", site.down, "down")]


@pytest.mark.parametrize("word", ["wbe", "198.51.100.1"])
def test_what_nobody_knows_is_2_in_words(run: Run, site: Site, word: str) -> None:
    ran = run(word, "--config", str(site.file))
    assert (ran.code, ran.out) == (2, "")
    assert f'no service or real server is called "{word}"' in ran.err


def test_path_check_of_an_ordinary_server_is_not_run_and_does_not_count(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        file = tmp_path / "config.toml"
        file.write_text(f"""
            [[service]]
            name = "web"
            address = "192.0.2.100:80"
            forward = "nat"
            check = [
                {{ type = "tcp", address = "127.0.0.1", port = {port} }},
                {{ type = "tcp", name = "path", through = "vip" }},
            ]
            real_server = ["198.51.100.11"]
        """)
        ran = run("--json", "--config", str(file))
        assert ran.code == 0
        plain, path = json.loads(ran.out)
        assert (plain["check"], plain["status"]) == ("tcp", "up")
        assert (path["check"], path["reason"]) == ("path", "not_run")
        assert "lvs-healthd status" in path["detail"]
