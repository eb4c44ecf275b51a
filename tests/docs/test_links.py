"""Every link of the documentation leads to a file that exists, and to a heading in it."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, REPOSITORY, anchors, links, name


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    assert [problem for link in links(page) if (problem := wrong(page, link))] == []


def wrong(page: Path, link: str) -> str:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return f"{link}: no such file"
    if not target.is_relative_to(REPOSITORY):
        return f"{link}: outside of the repository"
    return f"{link}: no such heading" if anchor and anchor not in anchors(target) else ""


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ("configuration.md#daemon", ""),
        ("logs.md#real_serverup", ""),
        ("#links", "#links: no such heading"),
        ("nothing.md", "nothing.md: no such file"),
        ("logs.md#real_server.up", "logs.md#real_server.up: no such heading"),
    ],
)
def test_a_wrong_link_is_found(link: str, told: str) -> None:
    assert wrong(REPOSITORY / "docs" / "README.md", link) == told


def test_the_index_names_every_page() -> None:
    index = REPOSITORY / "docs" / "README.md"
    named = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {name(page) for page in PAGES[1:] if page != index and page not in named} == set()


def test_pages_that_other_files_name_are_there() -> None:
    named: dict[str, str] = {}
    for folder in ("src", "systemd", "examples", "lab", "packaging", "checks", "tests"):
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file() and path.suffix in {".py", ".toml", ".service", ".socket", ".conf", ".yml", ""}:
                text = path.read_text(encoding="utf-8", errors="replace")
                named |= {page: name(path) for page in re.findall(r"\bdocs/[a-z/-]+\.md\b", text)}
    assert len(named) > 10
    assert {page: by for page, by in named.items() if not (REPOSITORY / page).is_file()} == {}


def test_readme_is_a_screen() -> None:
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 60
