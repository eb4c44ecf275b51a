"""The command line as values: every verb with its words and options, read from the verbs' signatures and docstrings.

The signatures are read instead of typer's own objects, which change from one version of typer to the next.
"""

import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from typer.models import ArgumentInfo, OptionInfo, ParameterInfo

from lvs_healthd.cli import VERBS, verb_function


class Meant(enum.StrEnum):
    """What a word on the command line names, so that shells can complete it."""

    NOTHING = ""
    """Text that nobody can guess."""
    FILE = "file"
    CHOICE = "choice"
    """One of a few fixed words."""
    SERVICES = "services"
    """Services of the running daemon."""
    SERVERS = "servers"
    """Their real servers."""
    BOTH = "services-and-servers"
    CHECKS = "checks"
    """Ready-made checks."""


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A word that stands on the command line without an option before it."""

    metavar: str
    """As in the usage: "SERVICE", or "[SERVER]..."."""
    text: str
    meant: Meant
    choices: tuple[str, ...] = ()
    is_repeated: bool = False
    """Whether there may be more such words. Those after a service are its real servers."""


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """An option."""

    names: tuple[str, ...]
    metavar: str = ""
    """What stands for its value; "" for an option without one."""
    text: str
    meant: Meant = Meant.NOTHING
    choices: tuple[str, ...] = ()
    default: str = ""
    """In words; "" if there is nothing to say."""


class Verb(msgspec.Struct, frozen=True, kw_only=True):
    """A verb."""

    name: str
    summary: str
    """One sentence."""
    paragraphs: tuple[str, ...]
    """What it does, and its exit statuses."""
    words: tuple[Word, ...]
    options: tuple[Option, ...]

    @property
    def usage(self) -> str:
        """How it is called, without the program's name."""
        return " ".join([self.name, "[OPTIONS]", *(word.metavar for word in self.words)])


HELP = Option(names=("-h", "--help"), text="Show how it is used, and exit.")
"""The option that every verb has."""

_BY_METAVAR = (
    (re.compile(r"SERVICE\|SERVER"), Meant.BOTH),
    (re.compile(r"SERVICE"), Meant.SERVICES),
    (re.compile(r"SERVER|ADDRESS$"), Meant.SERVERS),
    (re.compile(r"FILE|FOLDER|SOCKET"), Meant.FILE),
    (re.compile(r"^\[NAME"), Meant.CHECKS),
)
"""What a word is completed with, by what the usage calls it."""


def verbs() -> Iterator[Verb]:
    """Yield every verb, in the order of `--help`."""
    for name, summary in VERBS.items():
        yield _verb(name, summary, verb_function(name))


def _verb(name: str, summary: str, function: Callable[..., object]) -> Verb:
    words, options = [], []
    hints = typing.get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        kind, info = _parts(hints[parameter.name])
        if isinstance(info, ArgumentInfo):
            words.append(_word(parameter, kind, info))
        elif isinstance(info, OptionInfo):
            options.append(_option(parameter, kind, info))
    text = inspect.cleandoc(function.__doc__ or "")
    return Verb(
        name=name,
        summary=summary,
        paragraphs=tuple(" ".join(part.split()) for part in text.split("\n\n")),
        words=tuple(words),
        options=(*options, HELP),
    )


def _parts(hint: Any) -> tuple[Any, ParameterInfo | None]:  # noqa: ANN401  # types have no common type
    """Split an annotation into the type of one value, and what typer is told of it."""
    kind, *more = typing.get_args(hint)
    info = next((each for each in more if isinstance(each, ParameterInfo)), None)
    if isinstance(kind, types.UnionType):
        kind = next(each for each in typing.get_args(kind) if each is not type(None))
    return kind, info


def _word(parameter: inspect.Parameter, kind: Any, info: ArgumentInfo) -> Word:  # noqa: ANN401  # same
    is_repeated = typing.get_origin(kind) is list
    metavar = info.metavar or parameter.name.upper()
    if not info.metavar and parameter.default is not inspect.Parameter.empty:
        metavar = f"[{metavar}]"
    choices = _choices(kind)
    return Word(
        metavar=metavar,
        text=_sentence(info.help),
        meant=_meant(metavar, kind, choices),
        choices=choices,
        is_repeated=is_repeated,
    )


def _option(parameter: inspect.Parameter, kind: Any, info: OptionInfo) -> Option:  # noqa: ANN401  # same
    # In an annotation, typer's first argument is a name too.
    names = tuple(each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str))
    names = names or ("--" + parameter.name.strip("_").replace("_", "-"),)
    if kind is bool:
        return Option(names=names, text=_sentence(info.help))
    choices = _choices(kind)
    metavar = info.metavar or _METAVARS.get(kind, "|".join(choices) or "TEXT")
    shown = info.show_default if isinstance(info.show_default, str) else ""
    if not shown and info.show_default is not False and parameter.default not in ("", None, inspect.Parameter.empty):
        shown = str(parameter.default)
    return Option(
        names=names,
        metavar=metavar,
        text=_sentence(info.help),
        meant=_meant(metavar, kind, choices),
        choices=choices,
        default=shown,
    )


_METAVARS: dict[object, str] = {Path: "FILE", int: "N", float: "N"}


def _choices(kind: Any) -> tuple[str, ...]:  # noqa: ANN401  # same
    return tuple(str(each) for each in kind) if isinstance(kind, type) and issubclass(kind, enum.Enum) else ()


def _meant(metavar: str, kind: Any, choices: tuple[str, ...]) -> Meant:  # noqa: ANN401  # same
    if choices:
        return Meant.CHOICE
    if kind is Path:
        return Meant.FILE
    return next((meant for pattern, meant in _BY_METAVAR if pattern.search(metavar)), Meant.NOTHING)


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())
