"""What mon runs for a service: the words of its monitor, and the folders in which it looks for scripts."""

import os
import posixpath
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from lvs_healthd.importers.mon.records import Configuration, Service, Setting
from lvs_healthd.importers.mon.words import quoted_words

_BASEDIR = "/usr/lib/mon"
_FOLDERS = {"mondir": "/usr/local/lib/mon/mon.d:mon.d", "alertdir": "/usr/local/lib/mon/alert.d:alert.d"}
"""Where mon looks unless told."""

_BETWEEN_FOLDERS = re.compile(r"s*:s*")
"""What mon 1.3.6 splits these lists at. It was meant as blanks around a colon, but takes the letter s."""

_HOSTLESS = re.compile(r"\s*;;\s*\Z", re.ASCII)


def folders(settings: Mapping[str, Setting], key: str = "mondir", *, is_absolute: bool = True) -> tuple[str, ...]:
    """Return the folders of monitors (or of alerts, with "alertdir"), first the one that mon looks into first.

    is_absolute: whether to complete them as mon does once it has read the file.
    """
    value = settings[key].value if key in settings else _FOLDERS[key]
    parts = _BETWEEN_FOLDERS.split(value)
    while parts and not parts[-1]:
        parts.pop()
    if not is_absolute:
        return tuple(parts)
    base = settings["basedir"].value.rstrip("/") if "basedir" in settings else _BASEDIR
    return tuple(posixpath.join(base, part.removesuffix("/")) for part in parts)


def monitor_words(text: str) -> tuple[tuple[str, ...] | None, bool]:
    """Return the words of a monitor, the script first, and whether the hosts follow them.

    The words are None if a quote is left over: then mon runs the first host as a program.
    """
    bare = _HOSTLESS.sub("", text)
    return quoted_words(bare), bare == text


def between_folders(text: str) -> str:
    """Return what mon takes for the mark between two folders where it is more than a colon, or has blanks beside it."""
    for found in re.finditer(r"\s*s*:s*\s*", text):
        if found[0] != ":":
            return found[0]
    return ""


def script_path(
    name: str, settings: Mapping[str, Setting], key: str, runs: Callable[[str], bool] | None = None
) -> tuple[str, tuple[str, ...]]:
    """Return the path of a script, and what is not sure about it.

    key: "mondir" for monitors, "alertdir" for alerts.
    runs: tells whether a path is a program that can be run. Default: looks on this host.
    """
    where = folders(settings, key)
    found = next((folder for folder in where if (runs or is_program)(f"{folder}/{name}")), None)
    if found is not None or len(where) == 1:
        return f"{found or where[0]}/{name}", ()
    looked = f"none of {key}'s folders ({', '.join(where)}) has {name} here"
    return f"{where[-1]}/{name}", (f"{looked}; run the import on mon's own host, or correct `command`",)


def variables(service: Service, configuration: Configuration) -> dict[str, str]:
    """Return mon's variables that lvs-healthd would set otherwise, but for MON_GROUP."""
    found = {}
    if "description" in service.settings:
        found["MON_DESCRIPTION"] = service.settings["description"].value
    folder_keys = {"MON_STATEDIR": "statedir", "MON_LOGDIR": "logdir", "MON_CFBASEDIR": "cfbasedir"}
    settings = configuration.settings
    return found | {name: settings[key].value for name, key in folder_keys.items() if key in settings}


def is_program(path: str) -> bool:
    """Return whether a path is a program that can be run."""
    return Path(path).is_file() and os.access(path, os.X_OK)
