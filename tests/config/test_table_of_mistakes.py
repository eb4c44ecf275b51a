"""Mistakes that operators make, each with what they are told: file, line, key, what is wrong and how to right it.

The mistakes are in the folder `mistakes`. Each begins with a line `=== what it is`. Its file `config.toml` follows,
then other files, each after a line `>>> its name`; then, after a line `---`, the whole message of each error. `<web>`
stands for the five lines of a service without mistakes, and `<web check=…>` for the same with another check.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from lvs_healthd.config.load import ConfigError, load

FOLDER = Path(__file__).with_name("mistakes")
AT_LEAST = 120

WEB = '[[service]]\nname = "web"\naddress = "192.0.2.100:80"\ncheck = {check}\nreal_server = ["198.51.100.11"]'

OF_NO_LINE = frozenset({"the file of keepalived"})
"""Mistakes that are the whole file, and so are on no line of it."""


class Mistake(NamedTuple):
    what: str
    files: dict[str, str]
    errors: list[str]


def _read(text: str) -> Mistake:
    what, _, rest = text.partition("\n")
    written, _, told = rest.partition("\n---\n")
    files, name = {"config.toml": ""}, "config.toml"
    for line in written.splitlines():
        if line.startswith(">>> "):
            name = line.removeprefix(">>> ")
            files[name] = ""
            continue
        web = re.fullmatch(r"<web(?: check=(.*))?>", line)
        files[name] += (WEB.replace("{check}", web[1] or '"tcp"') if web else line) + "\n"
    return Mistake(what, files, told.strip().splitlines())


MISTAKES = [
    _read(text)
    for file in sorted(FOLDER.glob("*.txt"))
    for text in re.split(r"^=== ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
]


def told_of(mistake: Mistake, folder: Path) -> list[str]:
    """Return what is said of a mistake, with file names relative to the folder."""
    for name, text in mistake.files.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(folder / "config.toml")
    return [error.replace(f"{folder}/", "") for error in caught.value.errors]


@pytest.mark.parametrize("mistake", MISTAKES, ids=[each.what for each in MISTAKES])
def test_message_names_file_line_key_cause_and_cure(mistake: Mistake, tmp_path: Path) -> None:
    told = told_of(mistake, tmp_path)
    assert told == mistake.errors
    if mistake.what in OF_NO_LINE:
        return
    for error in told:
        place = re.match(r"([\w./-]+):(\d+): ", error)
        assert place is not None, "no file and line"
        assert 1 <= int(place[2]) <= mistake.files[place[1]].count("\n")


def test_there_are_enough_mistakes_and_all_are_different() -> None:
    assert len({each.what for each in MISTAKES}) == len(MISTAKES) >= AT_LEAST
    assert len({tuple(each.files.items()) for each in MISTAKES}) == len(MISTAKES)
