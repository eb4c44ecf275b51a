"""Starts `lvs-healthd run` without the command line's libraries, which take time and memory.

What is not plain (an abbreviated option, help, a mistake) is left to the ordinary verb, which explains it.
"""

import gc
from pathlib import Path
from typing import Any

from lvs_healthd.config.text import DEFAULT_FILE

_SWITCHES = ("--shadow", "--force")
_VALUES = {"--config": (), "--table": ("kernel", "memory"), "--log-level": ("debug", "info", "warning", "error")}
"""The options that take a value, with the values that are allowed; none for any."""


def quickly(words: list[str]) -> int | None:
    """Run the daemon with these words after the verb. Return its exit status; None if the ordinary verb must do it."""
    options = plain_options(words)
    if options is None:
        return None
    # Modules are made of objects that stay, so to look for garbage among them only takes time. The daemon collects what
    # there is once it has started (`runtime.garbage`).
    gc.disable()
    import lvs_healthd.runtime.without_authorities  # noqa: F401, PLC0415  # before anything else imports aiohttp
    from lvs_healthd.cli.serve import serve  # noqa: PLC0415  # it imports the whole daemon

    gc.enable()
    return serve(Path(options.pop("config", DEFAULT_FILE)), **options)


def plain_options(words: list[str]) -> dict[str, Any] | None:
    """Return the options by the names of their parameters; None for what only the ordinary verb understands."""
    options: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if word in _SWITCHES:
            options[word.removeprefix("--")] = True
            continue
        if name not in _VALUES or not (value := value if equals else next(rest, "")):
            return None
        if (_VALUES[name] and value not in _VALUES[name]) or value.startswith("-"):
            return None
        options[name.removeprefix("--").replace("-", "_")] = value
    return options
