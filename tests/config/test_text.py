import codecs
import sys
from pathlib import Path

import pytest

from lvs_healthd.config.load import ConfigError, load, parse
from tests.config.reading import errors_of, read, service


def load_errors(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == "\n".join(caught.value.errors)
    return list(caught.value.errors)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a = ", "c.toml:1: a: there is no value"),
        ("[daemon]\nlisten == 1\n", "c.toml:2: listen: one = is enough"),
        ("x = 1\nx = 2\n", "c.toml:2: x is already set, on line 1; keep one of them"),
        ('[[service]]\nname = "web\n', 'c.toml:2: name: the quote that opens here is not closed: "web'),
        ("a = 1\r", "c.toml:1:6: Expected newline or end of document after a statement"),
    ],
)
def test_broken_toml_says_where_and_why(text: str, error: str) -> None:
    assert errors_of(text) == [error]


def test_toml_beyond_what_python_takes() -> None:
    [error] = errors_of("a = " + "9" * (sys.get_int_max_str_digits() + 1))
    assert error == f"c.toml: it contains an integer of more than {sys.get_int_max_str_digits()} digits"
    [error] = errors_of("a = " + "[" * 5000 + "]" * 5000)
    assert error.startswith("c.toml: TOML inline arrays/tables are nested more")


def test_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(codecs.BOM_UTF8 + service().replace("\n", "\r\n").encode())
    assert load(file) == read(service())
    assert parse("\ufeff" + service(), "c.toml") == read(service())


def test_lines_are_right_behind_windows_line_ends() -> None:
    assert errors_of(service("weight = 1").replace("\n", "\r\n"))[0].startswith("c.toml:6:")


def test_non_ascii_text_is_fine_where_it_is_text() -> None:
    assert read(service().replace('"web"', '"bücher 書"')).services[0].name == "bücher 書"
    assert errors_of(service("fréquence = 1"))[0].startswith("c.toml:6:3: ")
    assert errors_of(service('"fréquence" = 1'))[0].startswith('c.toml:6: service "web": "fréquence": unknown key;')


def test_file_that_is_not_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b'# fine\nname = "\xff"\n')
    assert load_errors(file) == [f"{file}:2: not UTF-8 text: byte 0xff"]
    file.write_bytes(service().encode("utf-16"))
    assert load_errors(file) == [f"{file}:1: not UTF-8 text: byte 0xff"]


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert load_errors(tmp_path / "none") == [f"{tmp_path}/none: cannot be read: No such file or directory"]
    assert load_errors(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]
    assert load_errors(Path("/dev/null/x")) == ["/dev/null/x: cannot be read: Not a directory"]
    assert load_errors(Path("a\0b")) == ["'a\\x00b': cannot be read: embedded null byte"]
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert load_errors(loop) == [f"{loop}: cannot be read: Too many levels of symbolic links"]


def test_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is faked, because root may read every file."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert load_errors(tmp_path / "c.toml") == [f"{tmp_path}/c.toml: cannot be read: Permission denied"]


def test_endless_file() -> None:
    assert load_errors(Path("/dev/zero")) == ["/dev/zero: larger than 64 MiB"]
