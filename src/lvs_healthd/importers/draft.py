"""Writes the services that an importer has found as a configuration, with comments that name the source's lines."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import tomli_w

from lvs_healthd.importers.account import Place


class Imported(msgspec.Struct, frozen=True):
    """A configuration as text, and what the operator should know about it."""

    text: str
    remarks: tuple[str, ...]
    """What became of the source's lines, and what to check or complete."""
    is_lossless: bool = True
    """Whether all that the other program did is in the configuration."""


class Part(msgspec.Struct):
    """One table of an array of the configuration: a service, or a hook."""

    array: str
    """The array's name: "service"."""
    values: dict[str, Any]
    """Keys and values as `config.example.toml` has them. At least one value is neither a table nor an array of them."""
    places: list[Place] = msgspec.field(default_factory=list)
    """The lines it was made from."""
    comments: list[str] = msgspec.field(default_factory=list)
    """More for the comment above it, one line each."""


def written(parts: Iterable[Part], source: str, form: str, general: dict[str, Any] | None = None) -> str:
    """Return a configuration as text.

    source: the name of the file it is made from.
    form: the format of that file, as `lvs-healthd import` takes it.
    general: keys of other tables, such as "daemon", which come first.
    """
    chunks = [f"# Made from {source} by `lvs-healthd import {form}`.\n"]
    if general:
        chunks.append(tomli_w.dumps(general))
    for part in parts:
        comments = [*([f"from {ranges(part.places)}"] if part.places else []), *part.comments]
        head = "".join(f"# {line}\n" for comment in comments for line in comment.splitlines())
        chunks.append(head + _element(part))
    return "\n".join(chunks)


def _element(part: Part) -> str:
    """Return one element of an array of tables. A table's own tables, `[service.check]`, are those of the element."""
    head, _, rest = tomli_w.dumps({part.array: part.values}).partition("\n")
    return f"[{head}]\n{rest}"


def ranges(places: Sequence[Place]) -> str:
    """Return lines in words: "mon.cf, lines 3-5 and 9"."""
    files: dict[str, list[int]] = {}
    for place in sorted(set(places)):
        files.setdefault(place.file, []).append(place.number)
    return "; ".join(f"{file}, {_numbers(numbers)}" for file, numbers in files.items())


def _numbers(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    text = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"line {text}" if len(numbers) == 1 else f"lines {text}"
