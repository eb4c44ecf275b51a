"""Parsers for single values of the TOML file.

A parser takes the TOML value and returns the value for the record, or raises `WrongValueError`. Some functions here are
not parsers themselves, but return one for given bounds or choices.
"""

import difflib
import enum
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TypeVar

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.errors import Problem, WrongValueError, expected, show
from lvs_healthd.config.patterns import answer_pattern
from lvs_healthd.config.secrecy import HIDDEN, is_secret_hex
from lvs_healthd.config.shapes import Shape, shape_of, shaped, with_shape

T = TypeVar("T")
E = TypeVar("E", bound=enum.StrEnum)

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,24})?) ?(ms|s|m|h|d)")
_UNIT_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_LONGEST_UNIX_PATH = 107  # sun_path of sockaddr_un holds 108 bytes, one of them the NUL


@shaped("any value")
def anything(value: object) -> object:
    """Return any value unchanged, for a key whose value is parsed elsewhere."""
    return value


@shaped("a string", type="string")
def string(value: object) -> str:
    """Parse a string."""
    if not isinstance(value, str):
        raise expected("a string", value)
    return value


@shaped("true or false", type="boolean")
def boolean(value: object) -> bool:
    """Parse true or false."""
    if not isinstance(value, bool):
        meant = _SWITCHES.get(value.lower()) if isinstance(value, str) else None
        raise expected("true or false", value, f"write {meant}, without quotes" if meant else "")
    return value


_SWITCHES = {
    **dict.fromkeys(("true", "yes", "on", "1"), "true"),
    **dict.fromkeys(("false", "no", "off", "0"), "false"),
}


LONGEST_LABEL = 128
"""The maximum length of a name, characters."""


@shaped(f"1 to {LONGEST_LABEL} printable characters", type="string", minLength=1, maxLength=LONGEST_LABEL)
def label(value: object) -> str:
    """Parse a name for logs, metrics and people."""
    text = string(value)
    if not (0 < len(text) <= LONGEST_LABEL and text.isprintable() and text.strip() == text):
        raise expected(f"1 to {LONGEST_LABEL} printable characters without blanks at either end", value)
    return text


@shaped("a sentence", type="string", minLength=1)
def sentence(value: object) -> str:
    """Parse a description of what something is for."""
    text = string(value)
    if not text.strip():
        raise expected("a sentence", value)
    return text


def integer(least: int, most: int) -> Callable[[object], int]:
    """Return a parser for integers from `least` to `most`, both included."""

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            fix = "a whole number" if isinstance(value, float) else "without quotes" if isinstance(value, str) else ""
            raise expected(f"{least}..{most}", value, fix)
        return value

    return shaped(f"{least}..{most}", type="integer", minimum=least, maximum=most)(parse)


def percentage(least: int, most: int) -> Callable[[object], int]:
    """Return a parser for whole percentages from `least` to `most`, both included, as in "80%"."""
    what = f'"{least}%".."{most}%"'

    def parse(value: object) -> int:
        digits = value.removesuffix("%") if isinstance(value, str) and value.endswith("%") else ""
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= len(str(most))):
            raise expected(what, value, _as_share(value))
        if not least <= int(digits) <= most:
            raise expected(what, value)
        return int(digits)

    shape = {"type": "string", "pattern": f"^[0-9]{{1,{len(str(most))}}}%$"}
    return with_shape(parse, Shape(schema=shape, words=what, write=lambda percent: f"{percent}%"))


def _as_share(value: object) -> str:
    """Return how to write a number as a percentage, such as 80 or 0.8; empty if it is no such number."""
    match value:
        case bool():
            return ""
        case int():
            return f'write "{value}%"'
        case float() if 0 < value <= 1:
            return f'write "{value * 100:.0f}%"'
    return ""


def one_of(choices: Iterable[str]) -> Callable[[object], str]:
    """Return a parser for a string that must be one of `choices`."""
    known = tuple(choices)

    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise expected(listing(each or '""' for each in known), value, did_you_mean(value, known))
        return value

    return shaped(listing(f'"{each}"' for each in known), enum=list(known))(parse)


def member(kind: type[E], elsewhere: Mapping[str, E] | None = None) -> Callable[[object], E]:
    """Return a parser for a member of an enum.

    elsewhere: other programs' words for the members. Such a word is refused, and the error says which member to write.
    """
    parse_name = one_of(kind)

    def parse(value: object) -> E:
        meant = (elsewhere or {}).get(value.lower()) if isinstance(value, str) else None
        if meant is not None and value not in set(kind):
            raise expected(listing(kind), value, f'did you mean "{meant}"?')
        return kind(parse_name(value))

    shape = shape_of(parse_name)
    return with_shape(parse, Shape(schema=shape.schema, words=shape.words, write=str))


def listing(words: Iterable[str], link: str = "or") -> str:
    """Join words for a sentence: "nat, dr or tun"."""
    *most, last = words
    return f"{', '.join(most)} {link} {last}" if most else last


def did_you_mean(got: object, known: Iterable[str], *, most: int = 1) -> str:
    """Return a suggestion such as `did you mean "interval"?`, or an empty string when no known word is similar.

    most: how many words to suggest at most.
    """
    close = difflib.get_close_matches(got.lower(), known, n=most) if isinstance(got, str) else []
    return f"did you mean {listing(show(word) for word in close)}?" if close else ""


def duration(least: str, most: str, *, whole: bool = False) -> Callable[[object], Seconds]:
    """Return a parser for durations.

    least, most: the bounds, both included, as written in the file ("1s").
    whole: allow only whole seconds.
    """
    least_s, most_s = _seconds(least), _seconds(most)
    what = f"{'whole seconds' if whole else 'a duration'} from {least} to {most}"

    def parse(value: object) -> Seconds:
        if isinstance(value, int | float) and not isinstance(value, bool):
            unit = "d" if most.endswith("d") else "s"
            fix = f'give it a unit: "{value}{unit}"' if 0 <= value < 10**9 else "give it a unit"
            raise expected(what, value, fix)
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise expected(what, value, 'write one number and a unit: "250ms", "2s", "1.5m", "1h" or "14d"')
        seconds = _seconds(match.group())
        if not least_s <= seconds <= most_s or (whole and seconds != int(seconds)):
            raise expected(what, value)
        return Seconds(float(seconds))

    shape = {"type": "string", "pattern": f"^{_DURATION.pattern}$"}
    return with_shape(parse, Shape(schema=shape, words=what, write=days_text))


def _seconds(text: str) -> Decimal:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"not a duration: {text!r}")
    return Decimal(match.group(1)) * _UNIT_SECONDS[match.group(2)]


def duration_text(seconds: Seconds) -> str:
    """Format a duration exactly, for the TOML file: "2h", "90s", "250ms".

    Whole hours and whole minutes use those units, durations below one second use milliseconds, and all others use
    seconds.
    """
    exact = Decimal(repr(float(seconds)))
    if exact and exact % 3600 == 0:
        return f"{int(exact) // 3600}h"
    if exact and exact % 60 == 0:
        return f"{int(exact) // 60}m"
    if exact < 1 and exact:
        return f"{(exact * 1000).normalize():f}ms"
    return f"{exact.normalize():f}s"


def days_text(seconds: Seconds) -> str:
    """Format a duration exactly, as `duration_text` does, but whole days as "14d"."""
    days = seconds / 86400
    return f"{int(days)}d" if days and days == int(days) else duration_text(seconds)


@shaped("an absolute path", type="string", pattern="^/")
def absolute_path(value: object) -> str:
    """Parse an absolute path. A relative one would depend on the daemon's working directory."""
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise expected("an absolute path", value)
    return value


@shaped("an absolute path", type="string", pattern="^/", maxLength=_LONGEST_UNIX_PATH)
def socket_path(value: object) -> str:
    """Parse an absolute path that is short enough for a Unix socket."""
    path = absolute_path(value)
    if len(path.encode()) > _LONGEST_UNIX_PATH:
        raise expected(
            f"an absolute path of at most {_LONGEST_UNIX_PATH} bytes (the kernel's limit for sockets)", value
        )
    return path


@shaped("text", type="string")
def text_bytes(value: object) -> bytes:
    """Parse text to send or expect, and encode it as UTF-8."""
    return string(value).encode()


@shaped('hexadecimal digits such as "1c 00 ff"', type="string", pattern=r"^[0-9A-Fa-f\s]*$")
def hex_bytes(value: object) -> bytes:
    """Parse bytes written in hexadecimal, with optional blanks between them."""
    try:
        return bytes.fromhex(string(value))
    except ValueError:
        shown = HIDDEN if is_secret_hex(str(value)) else value
        raise expected('pairs of hexadecimal digits such as "1c 00 ff"', shown) from None


@shaped('an absolute path, or ""', type="string", pattern="^(/|$)")
def optional_path(value: object) -> str:
    """Parse an absolute path, or "" for none."""
    return "" if value == "" else absolute_path(value)


@shaped('an absolute path, or ""', type="string", pattern="^(/|$)", maxLength=_LONGEST_UNIX_PATH)
def optional_socket_path(value: object) -> str:
    """Parse the path of a Unix socket, or "" for none."""
    return "" if value == "" else socket_path(value)


@shaped("the name of an interface", type="string", pattern=r"^[^/\s]{1,15}$")
def interface(value: object) -> str:
    """Parse the name of a network interface."""
    text = string(value)
    if not re.fullmatch(r"[^/\s]{1,15}", text):  # IFNAMSIZ of linux/if.h, and dev_valid_name of net/core/dev.c
        raise expected("the name of an interface", value)
    return text


@shaped('the name of an interface, or ""', type="string", pattern=r"^[^/\s]{0,15}$")
def optional_interface(value: object) -> str:
    """Parse the name of a network interface, or "" for none."""
    return "" if value == "" else interface(value)


_HEX_PAIR = re.compile(r"[0-9A-Fa-f?]{2}")


@shaped('hexadecimal digits or question marks such as "1c ?? f?"', type="string", pattern=r"^[0-9A-Fa-f?\s]*$")
def hex_or_pattern(value: object) -> bytes | str:
    r"""Parse bytes in hexadecimal, in which a question mark stands for any digit: "1c ?? f?".

    Return the bytes, or with question marks the regular expression that matches them.
    """
    text = string(value)
    if "?" not in text:
        return hex_bytes(value)
    digits = "".join(text.split())
    pairs = [digits[index : index + 2] for index in range(0, len(digits), 2)]
    if not all(_HEX_PAIR.fullmatch(pair) for pair in pairs):
        shown = HIDDEN if is_secret_hex(text) else value
        raise expected('pairs of hexadecimal digits or question marks such as "1c ?? f?"', shown)
    return "".join(_byte_pattern(pair.lower()) for pair in pairs)


def _byte_pattern(pair: str) -> str:
    if pair == "??":
        return "."
    matching = [f"{byte:02x}" for byte in range(256) if _is_byte(f"{byte:02x}", pair)]
    return f"\\x{matching[0]}" if len(matching) == 1 else "[" + "".join(f"\\x{byte}" for byte in matching) + "]"


def _is_byte(digits: str, pair: str) -> bool:
    return all(wanted in ("?", digit) for digit, wanted in zip(digits, pair, strict=True))


@shaped("a regular expression (RE2)", type="string")
def regex(value: object) -> str:
    """Parse a regular expression, which must compile."""
    text = string(value)
    answer_pattern(text)
    return text


def one_or_more(parse: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    """Return a parser for one value, or a list of distinct values."""
    parse_list = several(parse)

    def parse_one_or_more(value: object) -> tuple[T, ...]:
        return parse_list(value) if isinstance(value, list) and value else (parse(value),)

    one, some = shape_of(parse), shape_of(parse_list)
    schema = {"anyOf": [one.schema, {**some.schema, "minItems": 1}]}
    return with_shape(
        parse_one_or_more, Shape(schema=schema, words=f"{one.words}; or a list", write=_one_or_each(one, some))
    )


def several(parse: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    """Return a parser for a list of distinct values, which may be empty."""

    def parse_several(value: object) -> tuple[T, ...]:
        if value == []:
            return ()
        if isinstance(value, str | int):
            raise expected("a list", value, f"write [{show(value)}]")
        found = listed(parse, "a list")(value)
        for index, element in enumerate(found):
            if element in found[:index]:
                raise WrongValueError(Problem((index,), f"{show(element)} is already listed; keep one of them"))
        return found

    one = shape_of(parse)
    schema = {"type": "array", "items": one.schema, "uniqueItems": True}
    return with_shape(parse_several, Shape(schema=schema, words=f"a list of {one.words}", write=_each(one)))


def listed(parse: Callable[[object], T], what: str) -> Callable[[object], tuple[T, ...]]:
    """Return a parser for a list of at least one value. It reports every element that is wrong.

    parse: parser for one element.
    what: what to expect, for the error message.
    """

    def parse_list(value: object) -> tuple[T, ...]:
        if not isinstance(value, list) or not value:
            raise expected(what, value)
        elements, problems = [], []
        for index, element in enumerate(value):
            try:
                elements.append(parse(element))
            except WrongValueError as error:
                problems += [Problem((index, *problem.at), problem.message) for problem in error.problems]
        if problems:
            raise WrongValueError(*problems)
        return tuple(elements)

    one = shape_of(parse)
    schema = {"type": "array", "items": one.schema, "minItems": 1}
    return with_shape(parse_list, Shape(schema=schema, words=what, write=_each(one)))


def _one_or_each(one: Shape, some: Shape) -> Callable[[object], object]:
    return lambda value: some.write(value) if isinstance(value, tuple) else one.write(value)


def _each(shape: Shape) -> Callable[[Iterable[object]], object]:
    return lambda elements: [shape.write(element) for element in elements]
