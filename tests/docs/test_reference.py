"""docs/reference is what the verbs and the configuration's model say now."""

import re

import pytest

from lvs_healthd.cli import VERBS
from lvs_healthd.cli.manual import markdown
from lvs_healthd.cli.manual.command_line import verbs
from lvs_healthd.config.reference import tables
from tests.docs.pages import REPOSITORY

FOLDER = REPOSITORY / "docs" / "reference"
MADE = {"verbs.md": markdown.verbs_page(), "keys.md": markdown.keys_page()}


@pytest.mark.parametrize("name", MADE)
def test_page_is_current(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == MADE[name], "type `make reference`"


def test_there_are_no_other_pages() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(MADE)


def test_every_verb_has_its_section_with_all_of_its_words() -> None:
    sections = dict(re.findall(r"(?ms)^## ([a-z]+)$(.*?)(?=^## |\Z)", MADE["verbs.md"]))
    assert list(sections) == list(VERBS)
    for verb in verbs():
        rows = re.findall(r"^\| `([^|]*(?:\\\|[^|]*)*)` \|", sections[verb.name], re.MULTILINE)
        assert len(rows) == len(verb.words) + len(verb.options), verb.name


def test_every_key_has_its_row_and_its_meaning() -> None:
    for header, table in tables().items():
        section = MADE["keys.md"].partition(f"\n## `{header}`\n")[2].partition("\n## ")[0]
        for key in table.keys:
            row = next(
                line for line in section.splitlines() if line.startswith(f"| `{key.name}` |") and line.count(" | ") > 1
            )
            assert " ".join(key.text.split()).replace("|", "\\|") in row


@pytest.mark.parametrize("name", MADE)
def test_tables_are_whole(name: str) -> None:
    width = 0
    for line in MADE[name].splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert width in (0, cells) or cells == 0, line
        width = cells
