"""Lines of keepalived.conf are read as keepalived reads them: comments, quotes, braces, macros, loops and includes."""

from pathlib import Path

import pytest

from lvs_healthd.importers.account import Account, Fate, Place
from lvs_healthd.importers.keepalived.files import LONGEST_LINE, Files, lines_of
from lvs_healthd.importers.keepalived.lines import Lines
from lvs_healthd.importers.keepalived.loops import loop_of
from lvs_healthd.importers.keepalived.words import (
    Invalid,
    Taken,
    UnmatchedQuoteError,
    address,
    microseconds,
    number,
    port,
    shell_words,
    without_comment,
    words,
)
from lvs_healthd.importers.source import Source

NAME = "keepalived.conf"


def read(text: str, folder: Path = Path("/nonexistent")) -> tuple[list[str], Account]:
    """Return the pieces of a file, and its account."""
    given = Source(NAME, text, folder)
    account = Account({NAME: lines_of(text)})
    lines = Lines(Files(given, account), account)
    pieces = []
    while piece := lines.next():
        pieces.append(piece.text)
    return pieces, account


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("  weight 3 # heavy", "weight 3"),
        ("rr!x", "rr"),
        ("path /a#b", "path /a"),
        (r"path /a\#b", "path /a#b"),
        ('path "/a#b!c"', 'path "/a#b!c"'),
        ('# a "quote', ""),
        ("$A=b   \\", "$A=b\\"),
        ("# all \\", "\\"),
    ],
)
def test_comments(line: str, kept: str) -> None:
    assert without_comment(line) == kept


def test_words_and_quotes() -> None:
    assert words('real_server "192.0.2.1"  80\t"two words"') == ["real_server", "192.0.2.1", "80", "two words"]
    assert words('a"b"') == ["a", "b"]
    with pytest.raises(UnmatchedQuoteError):
        words('virtualhost "www')


def test_words_of_scripts() -> None:
    assert shell_words(r"""a "b c" 'd "e' f\ g \x41\101\n""") == ["a", "b c", 'd "e', "f g", "AA\n"]
    assert shell_words(r"\cA\t") == ["\x01\t"]
    for wrong in ("it's", '"', "a\\"):
        with pytest.raises(UnmatchedQuoteError):
            shell_words(wrong)


def test_numbers_that_nobody_meant_are_doubted() -> None:
    assert number("3", 0) == Taken(3)
    assert number("3x", 0) == Taken(3, "keepalived takes '3x' for 3")
    assert number("heavy", 0) == Taken(0, "keepalived takes 'heavy' for 0")
    assert isinstance(number("-1", 0), Invalid)
    assert isinstance(number("heavy", 1), Invalid)
    assert isinstance(number("3x", 0, is_strict=True), Invalid)
    assert port("000") == Taken(0)
    assert isinstance(port("http"), Invalid)


def test_times_with_units_are_microseconds() -> None:
    assert microseconds("1.5") == Taken(1_500_000)
    assert microseconds("0.0000014") == Taken(1)
    assert microseconds("0.0000015") == Taken(2)
    assert microseconds("10s") == Taken(10, "keepalived takes '10s' for 10 microseconds, because it knows no units")
    assert isinstance(microseconds("0", 1), Invalid)
    assert isinstance(microseconds("-1"), Invalid)


def test_addresses_are_literal_and_without_brackets() -> None:
    assert str(address("192.0.2.1-9")) == "192.0.2.1"
    assert str(address("2001:db8::1/64")) == "2001:db8::1"
    for wrong in ("192.0.2.1:80", "[2001:db8::1]", "www.example.org", "192.0.2.300"):
        assert address(wrong) is None


def test_braces_stand_for_themselves_on_any_line() -> None:
    pieces, _account = read('a { b\nc{}\nd\n{ e "{" }\n')
    assert pieces == ["a", "{", "b", "c", "{", "}", "d", "{", 'e "{"', "}"]


def test_macros() -> None:
    pieces, account = read("$A=x\n$B=$A y\n$C=one \\\n  two $A \\\n\nfirst $B ${A}z $A,$A\n$C\nx$A.b $D ${D}\n")
    assert pieces == ["first x y xz x,x", "one", "two x", "x$A.b $D $", "{", "D", "}"]
    assert account.fates(Place(NAME, 1)) == {Fate.CARRIED}


def test_a_macro_that_is_defined_twice_or_never_used_is_told() -> None:
    _pieces, account = read("$A=x\n$A=y\n$A\n")
    assert account.remarks() == (f"{NAME}:1: ignored, as by the program: nothing uses $A",)


def test_a_line_of_form_feeds_is_empty() -> None:
    pieces, account = read("\f\v\na\n")
    assert pieces == ["a"]
    assert account.fates(Place(NAME, 1)) == {Fate.EMPTY}


def test_a_macro_that_contains_itself_is_refused() -> None:
    _pieces, account = read("$A=b $A\n$A\n")
    assert account.remarks()[-1].startswith(f"{NAME}:2: refused: its macros make it too long")


def test_macros_of_keepalived_itself() -> None:
    pieces, account = read("path $_PWD\nrandom $_RANDOM\n")
    assert pieces == ["path /nonexistent", "random $_RANDOM"]
    assert "refused: what keepalived puts in for $_RANDOM" in account.remarks()[0]


def test_loops() -> None:
    pieces, _account = read(
        "~SEQ(N, 2) a$N,\n~SEQ(N,5,-2,1) b $N\n~SEQx(N, 9, 0xb) c $N\n~LST({X, Y}, {1, 2}, {3}) d $X-$Y $Y\n"
    )
    assert pieces == ["a1,", "a2,", "b 5", "b 3", "b 1", "c 9", "c a", "c b", "d $X-2 2", "d $X-"]


@pytest.mark.parametrize("wrong", ["~SEQ(N)", "~SEQ(N,5,1,2) a", "~LST({A},{1,2}) a", "~SEQx(N,-1) a"])
def test_wrong_loops_repeat_nothing(wrong: str) -> None:
    assert isinstance(loop_of(wrong, lambda text: text), str)


def test_lines_for_an_id_count_only_if_it_is_another() -> None:
    pieces, account = read("@lb1 a\n@^lb1 b\n@lb1\n")
    assert pieces == ["b"]
    assert account.fates(Place(NAME, 1)) == account.fates(Place(NAME, 3)) == {Fate.IGNORED}


def test_includes_are_relative_to_the_including_file(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / "1.conf").write_text("one\ninclude deep/*.inc\nlast of one\n")
    (tmp_path / "sub" / "2.conf").write_text("two")
    (tmp_path / "sub" / "deep" / "a.inc").write_text("deep\n")
    (tmp_path / "sub" / "deep" / "b.inc").write_text("never\n")
    (tmp_path / "sub" / "deep" / "b.inc").chmod(0o755)
    pieces, account = read('include sub/{2,1}.conf\nafter\ninclude "sub/1.conf"\ninclude none*\n', tmp_path)
    assert pieces == ["two", "one", "deep", "last of one", "after"]
    assert account.fates(Place("sub/1.conf", 2)) == {Fate.CARRIED, Fate.IGNORED}
    assert account.fates(Place(NAME, 3)) == {Fate.IGNORED}
    assert account.fates(Place(NAME, 4)) == {Fate.DROPPED}


def test_a_file_that_includes_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.conf").write_text("include loop.conf\n")
    _pieces, account = read("include loop.conf\n", tmp_path)
    assert account.fates(Place("loop.conf", 1)) == {Fate.CARRIED, Fate.REFUSED}


def test_a_file_that_cannot_be_read_as_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.conf").write_bytes(b"# \xe9\n")
    _pieces, account = read("include latin.conf\n", tmp_path)
    assert any("latin.conf:1: refused: cannot be read: not UTF-8" in line for line in account.remarks())


def test_lines_that_keepalived_would_cut_are_refused() -> None:
    _pieces, account = read("a" * (LONGEST_LINE + 1) + "\nb\0c\n" + "d" * LONGEST_LINE)
    assert [line.split(":")[1] for line in account.remarks()] == ["1", "2"]
