"""The kinds of IPVS table that a verb works on."""

import enum
from typing import Annotated

import typer


class TableKind(enum.StrEnum):
    """Where the IPVS table lives."""

    KERNEL = "kernel"
    MEMORY = "memory"


TableOption = Annotated[
    TableKind, typer.Option("--table", help="kernel: the director's IPVS; memory: no IPVS at all, to try things out.")
]
