"""The base class of all events."""

from typing import ClassVar

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The base class of all events. `level` is the log level: "debug", "info", "warning" or "error"."""

    name: ClassVar[str]
    level: ClassVar[str] = "info"
