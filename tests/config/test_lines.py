"""Line numbers of keys, checked with documents in which every integer is the number of its own line."""

from collections.abc import Iterator
from typing import Any

import pytest
import tomli
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.lines import KeyPath, line_numbers
from tests.config.documents import PATIENT


def paths(value: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    if path:
        yield path, value
    match value:
        case dict():
            for key, inner in value.items():
                yield from paths(inner, (*path, key))
        case list():
            for index, inner in enumerate(value):
                yield from paths(inner, (*path, index))


def assert_lines_are_right(text: str) -> None:
    """Check that every path has a line, and that every integer in the document is the number of its line."""
    lines = line_numbers(text)
    found = dict(paths(tomli.loads(text)))
    assert lines.keys() == found.keys()
    for path, value in found.items():
        if isinstance(value, int):
            assert (path, lines[path]) == (path, value)


HAND_MADE = '''
a = 2                              # a comment with [brackets] = "and more"
b.c = 3
b . "d.e" = 4
'f g' = 5
"h\\u0069\\"" = 6
text = """
one = 1
[[not.a.table]] \\""" # still text
"quoted"""""
literal = \'\'\'
\\\'\'
{ x = 1\'\'\'\'\'
list = [ 14, 14, # two
    15,
    [16, { x = 16, y.z = 16 },
    17], # last
    ]
inline = { i = 19, "j k".l = 19, m = [19, { n = 19 }], s = "}, x = 1" }
empty = []
none = {}
date = 1979-05-27 07:32:00Z
float = 1.5e3

[table]
i = 26
[table.sub."x.y"]
i = 28
[deep.implied.one]
i = 30
[deep]
i = 32
[[array]]
i = 34
[array.sub]
i = 36
[[array.inner]]
i = 38
[[array.inner]]
i = 40
[array.inner.x]
i = 42
[[array]]  # second
i = 44
[[array.inner]]
i = 46
'''


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_style_of_toml_has_its_lines(ending: str) -> None:
    assert_lines_are_right(HAND_MADE.replace("\n", ending))


def test_tables_stand_at_their_headers_and_elements_where_they_begin() -> None:
    lines = line_numbers(HAND_MADE)
    assert {path: lines[path] for path in [("table",), ("table", "sub"), ("table", "sub", "x.y")]} == {
        ("table",): 25,
        ("table", "sub"): 27,
        ("table", "sub", "x.y"): 27,
    }
    assert lines[("deep",)] == 31  # its own header, though first implied on line 29
    assert lines[("deep", "implied")] == 29
    assert (lines[("array",)], lines[("array", 0)], lines[("array", 1)]) == (33, 33, 43)
    assert (lines[("array", 0, "inner", 1)], lines[("array", 1, "inner", 0)]) == (39, 45)
    assert (lines[("list", 3)], lines[("list", 3, 1, "y")], lines[("list", 3, 2)]) == (16, 16, 17)
    assert (lines[("text",)], lines[("literal",)]) == (7, 11)


def test_toml_1_1_inline_tables_over_several_lines() -> None:
    assert_lines_are_right("t = {\n  a = 2,\n  # why\n  b = [\n    5,\n  ],\n}\nx = 8\n")


def test_empty_document_has_no_lines() -> None:
    assert line_numbers("# nothing\n") == {}


def test_text_beyond_the_scanner_keeps_the_lines_before() -> None:
    assert line_numbers("a = 1\nb = 2\n= = =\n") == {("a",): 1, ("b",): 2}


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
LEAVES = (
    st.booleans()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    | st.sampled_from(['"""', "'''", "# [x]", "a = 1\n[b]\n", "]", "}", "\\", "\r\n", '""', "\n\n"])
    | st.datetimes()
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=5)


@PATIENT
@given(DOCUMENTS, st.booleans())
def test_every_path_of_a_written_document_has_a_line(document: dict[str, Any], multiline: bool) -> None:
    text = tomli_w.dumps(document, multiline_strings=multiline)
    assert line_numbers(text).keys() == {path for path, _ in paths(tomli.loads(text))}


class _Writer:
    """Writes a document in a random style, in which each integer is the number of its line."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.text = ""

    def line(self) -> int:
        return self.text.count("\n") + 1

    def document(self) -> str:
        self._body(self._draw(st.integers(0, 3)), "root")
        for index in range(self._draw(st.integers(0, 3))):
            if self._draw(st.booleans()):
                self._table(f"[t{index}]", index)
            else:
                for _ in range(self._draw(st.integers(1, 3))):
                    self._table(f"[[ 't{index}' ]] # again", index)
                    if self._draw(st.booleans()):
                        self._table(f'[t{index} . "sub.{index}"]', index)
        return self.text

    def _table(self, header: str, index: int) -> None:
        self.text += self._draw(st.sampled_from(["", "\n", "# [no.table]\n", "  \n"]))
        self.text += header + "\n"
        self._body(self._draw(st.integers(0, 3)), f"k{index}")

    def _body(self, count: int, name: str) -> None:
        for index in range(count):
            key = self._draw(st.sampled_from([f"{name}{index}", f'"{name} {index}"', f"{name}-{index}.'in.ner'.x"]))
            self.text += key + self._draw(st.sampled_from([" = ", "=", "\t=  "]))
            self._value(depth=0)
            self.text += self._draw(st.sampled_from(["\n", " # ] } , \" '\n", "\n\n"]))

    def _value(self, depth: int) -> None:
        kinds = ["integer", "text"] + (["array", "inline"] if depth < 3 else [])
        match self._draw(st.sampled_from(kinds)):
            case "integer":
                self.text += str(self.line())
            case "text":
                self.text += self._draw(st.sampled_from(STRINGS))
            case "array":
                self._container("[", "]", depth, named=False)
            case _:
                self._container("{", "}", depth, named=True)

    def _container(self, start: str, end: str, depth: int, *, named: bool) -> None:
        self.text += start + self._gap()
        for index in range(self._draw(st.integers(0, 3))):
            self.text += (f"k{index} = " if index % 2 else f'"k {index}".x = ') if named else ""
            self._value(depth + 1)
            self.text += self._gap() + "," + self._gap()
        self.text += end

    def _gap(self) -> str:
        return self._draw(st.sampled_from(["", " ", "\n", " # , ] }\n  "]))


STRINGS = [
    '""',
    "''",
    '"] # \\" }"',
    "'\\'",
    '"""a\n[b]\n"""',
    '"""\n""\\""" x"""""',
    "'''\n'' x = 1'''''",
    '""""""',
    "''''''",
    '"""\\\n   """',
]


@st.composite
def hand_styled(draw: st.DrawFn) -> str:
    return _Writer(draw).document()


@PATIENT
@given(hand_styled())
def test_every_line_of_a_hand_styled_document_is_right(text: str) -> None:
    assert_lines_are_right(text)
