"""Answers `lvs-healthd complete KIND [SERVICE]`, with which the completion of shells asks for names, one on each line.

A person waits for it, so it does without the command line's libraries, as `ok_quickly` does. It never says anything
else: while nobody answers, there is nothing to complete.
"""

import http.client
import json
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

TIMEOUT_S = 2.0
"""How long to wait for the daemon, seconds. Nobody waits longer for a completion."""

CONTROL = "/run/lvs-healthd/control.sock"
"""The default of `daemon.control`, as in `config.model`, whose import takes long."""

FILE = Path("/etc/lvs-healthd/config.toml")
"""The default of --config."""

_SECTION = re.compile(r"\s*\[+([^\[\]]*)\]+")
_CONTROL = re.compile(r"""\s*control\s*=\s*(["'])([^"'\\]*)\1""")


def complete(words: list[str]) -> None:
    """Print the names that may stand in a place of the command line.

    words: "services", "servers", "services-and-servers" or "checks", and for "servers" perhaps their service. Also
        --config or --control, each with its value, if the command line has them.
    """
    words = list(words)
    config = Path(_taken(words, "--config") or FILE)
    control = _taken(words, "--control") or _control(config)
    kind, service = [*words, "", ""][:2]
    try:
        found = list(_checks(config) if kind == "checks" else _names(control, kind, service))
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return
    sys.stdout.write("".join(f"{name}\n" for name in dict.fromkeys(found) if name.isprintable()))


def _taken(words: list[str], option: str) -> str:
    """Take an option with its value out of the words, and return its value; "" without one."""
    for index, word in enumerate(words):
        if word.startswith(f"{option}="):
            del words[index]
            return word.removeprefix(f"{option}=")
        if word == option:
            value = words[index + 1] if index + 1 < len(words) else ""
            del words[index : index + 2]
            return value
    return ""


def _control(config: Path) -> str:
    """Return where the daemon of a configuration listens. The file need not be right, and is read up to that line."""
    section = ""
    try:
        with config.open(encoding="utf-8") as file:
            for line in file:
                if heading := _SECTION.match(line):
                    section = heading[1].strip()
                elif section == "daemon" and (value := _CONTROL.match(line)):
                    return value[2] or CONTROL
    except (OSError, ValueError):
        pass
    return CONTROL


def _names(control: str, kind: str, service: str) -> Iterator[str]:
    if kind == "services":
        # The shortest answer that names them all.
        yield from (each["service"] for each in _answer(control, f"/api/v1/ok?service={quote(service)}")["services"])
        return
    for each in _answer(control, "/api/v1/status")["services"]:
        if kind == "services-and-servers":
            yield each["service"]
        if not service or service in (each["service"], each["address"], each["address"].partition("/")[0]):
            yield from (server["server"] for server in each["real_servers"])


def _answer(control: str, path: str) -> Any:  # noqa: ANN401  # JSON has no common type
    connection = http.client.HTTPConnection("control", timeout=TIMEOUT_S)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.settimeout(TIMEOUT_S)
        connection.sock.connect(control)
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _checks(config: Path) -> Iterator[str]:
    """Yield the names of the ready-made checks, from the folders that `config.readymade` searches."""
    package = Path(__file__).parents[1]
    folders = (config.parent / "checks", FILE.parent / "checks", package / "_checks", package.parents[1] / "checks")
    yield from sorted(file.stem for folder in folders for file in folder.glob("*.toml"))
