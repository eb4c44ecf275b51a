"""Reads what the code says of its own records: descriptions for people are written once, beside the fields."""

import ast
import functools
import inspect
import sys
from collections.abc import Mapping


@functools.cache
def docs_of(record: type) -> Mapping[str, str]:
    """Return the docstrings below the fields of a record of ours, inherited ones too."""
    found: dict[str, str] = {}
    for each in reversed(record.__mro__):
        if each.__module__.startswith("lvs_healthd."):
            found |= _docs_of_module(each.__module__)[each.__name__]
    return found


@functools.cache
def _docs_of_module(module: str) -> Mapping[str, Mapping[str, str]]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: dict(_field_docs(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _field_docs(node: ast.ClassDef) -> list[tuple[str, str]]:
    found = []
    for pair in zip(node.body, node.body[1:], strict=False):
        match pair:
            case ast.AnnAssign(target=ast.Name(id=field)), ast.Expr(value=ast.Constant(value=str(text))):
                found.append((field, paragraphs(text)))
    return found


def paragraphs(text: str | None) -> str:
    """Join the lines of each paragraph of a docstring."""
    parts = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in parts)
