"""The manual pages say what the command line and the configuration are, and roff finds nothing wrong with them."""

import re
import subprocess

import pytest

from lvs_healthd.cli import VERBS, main
from lvs_healthd.cli.manual.command_line import Meant, verbs
from lvs_healthd.cli.manual.pages import pages
from lvs_healthd.cli.reference import files
from lvs_healthd.config.reference import tables

PAGES = pages()
KNOWN = {verb.name: verb for verb in verbs()}


def formatted(text: str) -> str:
    """What a reader sees, without warnings."""
    ran = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-Kutf8", "-rLL=200n", "-P-c", "-P-b", "-P-u", "-P-o"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr == ""
    return ran.stdout


def test_there_is_a_page_for_the_program_the_file_and_every_verb() -> None:
    names = {"lvs-healthd.8", "lvs-healthd.toml.5", *(f"lvs-healthd-{verb}.8" for verb in VERBS)}
    assert PAGES.keys() == names
    assert {path.rpartition("/")[2] for path in files() if path.startswith("man/")} == names


@pytest.mark.parametrize("name", sorted(PAGES))
def test_page_has_no_mistake_and_its_parts(name: str) -> None:
    text = formatted(PAGES[name])
    headings = re.findall(r"^[A-Z][A-Z ]+$", text, re.MULTILINE)
    assert headings[:2] == ["NAME", "SYNOPSIS"]
    assert headings[-1] == "SEE ALSO"


@pytest.mark.parametrize("verb", VERBS)
def test_page_of_a_verb_has_all_that_its_help_has(verb: str) -> None:
    text = formatted(PAGES[f"lvs-healthd-{verb}.8"])
    for option in KNOWN[verb].options:
        assert re.search(rf"^ +{', '.join(option.names)}( |$)", text, re.MULTILINE), option
    for word in KNOWN[verb].words:
        assert word.text.replace("`", "") in " ".join(text.split())


def test_what_typer_calls_options_is_what_the_page_calls_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signatures are read without typer; its own help must not know more or less."""
    for verb, known in KNOWN.items():
        monkeypatch.setattr("sys.argv", ["lvs-healthd", verb, "--help"])
        with pytest.raises(SystemExit):
            main()
        shown = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
        assert shown == {name for option in known.options for name in option.names if name.startswith("--")}, verb


def test_page_of_the_file_has_every_key_with_its_meaning() -> None:
    text = " ".join(formatted(PAGES["lvs-healthd.toml.5"]).split())
    for header, table in tables().items():
        for key in table.keys:
            meaning = " ".join(key.text.replace("`", "").split())
            accepted = f" = {key.shape.words}" if key.shape.schema else ""
            assert f"{key.name}{accepted} {meaning}" in text, header


def test_lines_that_begin_with_a_dot_are_text() -> None:
    for name, text in PAGES.items():
        requests = set(re.findall(r"^[.'](\S*)", text, re.MULTILINE))
        assert requests <= {"TH", "SH", "SS", "PP", "TP", "IP", "br"}, name


def test_words_are_known_for_what_they_name() -> None:
    drain, why, status = KNOWN["drain"], KNOWN["why"], KNOWN["status"]
    assert [word.meant for word in drain.words] == [word.meant for word in why.words] == [Meant.SERVICES, Meant.SERVERS]
    assert [word.meant for word in status.words] == [Meant.BOTH]
    assert [word.meant for word in KNOWN["import"].words] == [Meant.CHOICE, Meant.FILE]
    meant = {name: option.meant for option in drain.options for name in option.names}
    assert meant["--everywhere"] is Meant.SERVERS
    assert meant["--config"] is meant["--control"] is Meant.FILE
    assert meant["--reason"] is meant["--wait"] is Meant.NOTHING
