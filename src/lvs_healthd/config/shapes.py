"""What the value of a key looks like in the file: for editors as a JSON schema, and for people in words.

Each parser of a value carries its shape, so the schema and the manual page say what the parser accepts.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

_ATTRIBUTE = "shape"
"""The attribute of a parser that holds its shape."""

_Parser = TypeVar("_Parser", bound=Callable[..., object])


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a value looks like in the file."""

    schema: Mapping[str, Any]
    """The JSON schema that every accepted value fits. It may also fit values that the parser refuses, because no schema
    knows how long a minute is."""
    words: str
    """What is accepted, as in "a duration from 1s to 1h"."""
    write: Callable[[Any], object] = lambda value: value
    """Turns a field of a record back into what is written in the file."""


def shaped(words: str, /, **schema: object) -> Callable[[_Parser], _Parser]:
    """Return a decorator that gives a parser its shape.

    words, schema: as in `Shape`. The schema's keywords are arguments.
    """
    return lambda parse: with_shape(parse, Shape(schema=schema, words=words))


def with_shape(parse: _Parser, shape: Shape) -> _Parser:
    """Give a parser its shape, and return it."""
    vars(parse)[_ATTRIBUTE] = shape
    return parse


def shape_of(parse: Callable[..., object]) -> Shape:
    """Return the shape of a parser. Raises `LookupError` if nobody gave it one."""
    try:
        found: Shape = vars(parse)[_ATTRIBUTE]
    except KeyError:
        raise LookupError(f"{parse.__module__}.{parse.__qualname__} has no shape") from None
    return found


def table_shape(parsers: Mapping[str, Callable[..., object]], words: str, **schema: object) -> Shape:
    """Return the shape of a table whose keys have these parsers.

    schema: more keywords.
    """
    properties = {key: dict(shape_of(parse).schema) for key, parse in parsers.items()}
    return Shape(
        schema={"type": "object", "properties": properties, "additionalProperties": False, **schema}, words=words
    )
