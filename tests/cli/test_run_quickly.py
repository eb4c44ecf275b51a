"""`run` starts without the command line's libraries, as the ordinary verb would."""

import inspect
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lvs_healthd.cli import run as run_verb
from lvs_healthd.cli import run_quickly
from lvs_healthd.cli.serve import serve

PLAIN: list[list[str]] = [
    [],
    ["--config", "/tmp/a b.toml"],
    ["--config=/tmp/x=y.toml", "--shadow"],
    ["--force", "--table", "memory", "--config", "x", "--log-level=debug"],
    ["--config", "first", "--config", "second", "--shadow", "--shadow"],
]


@pytest.mark.parametrize("words", PLAIN)
def test_plain_words_mean_what_they_mean_to_the_ordinary_verb(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[dict[str, Any]] = []

    def note(*arguments: Any, **options: Any) -> int:
        given = inspect.signature(serve).bind(*arguments, **options)
        given.apply_defaults()
        called.append(given.arguments)
        return 7

    monkeypatch.setattr("lvs_healthd.cli.serve.serve", note)
    monkeypatch.setattr(run_verb, "serve", note)
    assert run_quickly.quickly(words) == 7
    app = typer.Typer()
    app.command()(run_verb.run)
    assert CliRunner().invoke(app, words).exit_code == 7
    quick, ordinary = called
    assert quick == ordinary


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["file.toml"],
        ["--config"],
        ["--config="],
        ["--config", "--shadow"],
        ["--table", "kernal"],
        ["--log-level=loud"],
        ["--shadow=yes"],
        ["--shad"],
        ["--", "--force"],
    ],
)
def test_what_is_not_plain_is_left_to_the_ordinary_verb(words: list[str]) -> None:
    assert run_quickly.plain_options(words) is None


def test_daemon_starts_without_libraries_that_only_draw(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    code = "import sys\nfrom lvs_healthd.cli import main\ntry:\n    main()\nfinally:\n    print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, "run", "--table", "memory", "--config", str(missing)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "config.rejected" in ran.stderr
    loaded = set(ran.stdout.split())
    assert not loaded & {"typer", "click", "rich", "pygments"}
    assert "structlog.dev" in loaded


def test_ctrl_c_during_the_imports_ends_it_without_a_traceback() -> None:
    code = (
        "import os, signal\n"
        "from lvs_healthd.cli import main, run_quickly\n"
        "run_quickly.quickly = lambda words: os.kill(os.getpid(), signal.SIGINT)\n"
        "main()"
    )
    ran = subprocess.run([sys.executable, "-c", code, "run"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("places", [{}, {"SSL_CERT_FILE": "/etc/ssl/other.pem"}])
def test_authorities_are_read_only_by_those_who_ask_for_them(places: dict[str, str]) -> None:
    code = (
        "import os, ssl\n"
        "from lvs_healthd.cli import run_quickly\n"
        "before = dict(os.environ)\n"
        "assert run_quickly.quickly(['--config', '/does/not/exist'])\n"
        "assert dict(os.environ) == before\n"
        "from aiohttp import connector\n"
        "unused = connector._SSL_CONTEXT_VERIFIED\n"
        "assert (unused.verify_mode, unused.get_ca_certs()) == (ssl.CERT_REQUIRED, [])\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT_")} | places
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, stdout=subprocess.DEVNULL)
