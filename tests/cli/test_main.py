"""The entry point: it starts fast, imports only the verb that runs, and explains its errors in words."""

import subprocess
import sys

import pytest

from lvs_healthd import __version__
from lvs_healthd.cli import VERBS, main

IMPORTS_NOTHING_BIG = """
import sys
from lvs_healthd.cli import main
sys.argv = ["lvs-healthd", {arguments}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
big = {{"typer", "aiohttp", "structlog", "prometheus_client", "msgspec", "rich", "asyncio", "pydantic"}}
print("imported:", *sorted(big & set(sys.modules)), file=sys.stderr)
"""


def imported(arguments: str) -> set[str]:
    """Run the command line in a fresh interpreter and return the big packages it imported."""
    code = IMPORTS_NOTHING_BIG.format(arguments=arguments)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stderr.splitlines()[-1].split()[1:])


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["lvs-healthd", *arguments])
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def test_version_is_printed_without_importing_anything_big() -> None:
    assert imported('"--version"') == set()


def test_version_says_name_and_version() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from lvs_healthd.cli import main; main()", "--version"],
        check=True,
        capture_output=True,
    )
    assert ran.stdout.decode() == f"lvs-healthd {__version__}\n"


def test_help_imports_no_verb() -> None:
    assert imported('"--help"') <= {"typer", "rich"}  # typer's own


def test_status_imports_neither_the_daemon_nor_its_server() -> None:
    assert imported('"status", "--help"') <= {"typer", "rich", "msgspec"}


def test_verb_that_reads_its_options_does_not_import_pydantic() -> None:
    assert "pydantic" not in imported('"checks", "--json"')


def test_version_option_is_found_behind_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--version", "status") == 0
    assert capsys.readouterr().out == f"lvs-healthd {__version__}\n"


def test_help_lists_every_verb_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    width = max(map(len, VERBS))
    for verb, summary in VERBS.items():
        assert [line for line in lines if line.split()[:1] == [verb]] == [f"  {verb:<{width}}  {summary}"]


@pytest.mark.parametrize("arguments", [["statsu"], ["--nonsense"], ["status", "--nonsense"]])
def test_wrong_usage_is_2_and_says_so_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    text = capsys.readouterr().err
    assert "No such" in text
    assert "Traceback" not in text


def test_bug_shows_as_the_traceback_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("lvs_healthd.cli.status.RunningDaemon", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run(monkeypatch, "status")


@pytest.mark.parametrize("verb", [[], *([verb] for verb in VERBS)], ids=lambda verb: " ".join(verb) or "none")
def test_h_is_help_everywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    assert run(monkeypatch, *verb, "-h") == 0
    assert capsys.readouterr().out.startswith("Usage: lvs-healthd")
