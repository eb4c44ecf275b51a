"""Every file in examples/ is right, says what a reader must know, and is in the list of docs/examples.md."""

import re
from pathlib import Path

import pytest

from lvs_healthd.config.load import load

REPOSITORY = Path(__file__).parents[1]
FILES = sorted((REPOSITORY / "examples").iterdir())
CONFIGURATIONS = [path for path in FILES if path.suffix == ".toml"]
PAGE = (REPOSITORY / "docs" / "examples.md").read_text(encoding="utf-8")
ON_THE_LAB = [path for path in CONFIGURATIONS if path.stem != "laptop"]
"""Those that the lab's tests run. The README has the other."""


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_example_has_neither_errors_nor_remarks(path: Path) -> None:
    assert load(path).remarks == ()


@pytest.mark.parametrize("path", ON_THE_LAB, ids=lambda path: path.stem)
def test_example_says_what_it_shows_how_to_run_it_and_what_the_servers_need(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [word for word in ("Shows", "Run", "Servers") if not re.search(rf"^# {word}: +\S", text, re.MULTILINE)] == []
    assert f"lvs-healthd run --config {path.name}" in text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_example_is_in_the_list(path: Path) -> None:
    assert f"[{path.name}](../examples/{path.name})" in PAGE


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\]\(\.\./(examples/[^)]+)\)", PAGE))))
def test_file_in_the_list_is_there(name: str) -> None:
    assert (REPOSITORY / name).is_file()


@pytest.mark.parametrize("path", ON_THE_LAB, ids=lambda path: path.stem)
def test_example_is_run_on_the_real_kernel(path: Path) -> None:
    tests = "".join(file.read_text() for file in (REPOSITORY / "tests/kernel").glob("*.py"))
    assert f'"{path.name}"' in tests
