"""Writes what a bug report needs into one file, without secrets. It blocks.

Secrets are hidden twice: the configuration is written as `validate --effective` writes it, and every text is searched
for the secrets of the configuration's file and of the files that it names.
"""

import gzip
import importlib.metadata
import io
import json
import os
import platform
import re
import subprocess
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from lvs_healthd import __version__
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.model import Config
from lvs_healthd.config.parts import whole_file
from lvs_healthd.config.public import SECRET_FILE_KEYS, holds_secret
from lvs_healthd.config.secrecy import HIDDEN, parts_of_command, parts_of_request
from lvs_healthd.config.text import leaves
from lvs_healthd.director import links
from lvs_healthd.doctor.finding import Finding, Note
from lvs_healthd.doctor.observations import Observations
from lvs_healthd.runtime.exceptions import HostError
from lvs_healthd.runtime.netns import Netns, NetnsError

FOLDER = "lvs-healthd-doctor"
"""The folder inside the file."""

LOG_LINES = 500
MOST_ENTRIES = 5000
"""How many routes and neighbours are written at most. A router knows a million."""

_LOG_S = 5.0
"""How long journalctl may take, seconds."""
_LONGEST_SECRET = 64 * 1024
"""The largest file that is read for a secret, bytes."""
_SHORTEST_SECRET = 3
"""The shortest secret that is searched for, characters. Shorter ones are in every text by chance."""
_VALUE = re.compile(
    r"((?:auth\w*|cookie|\w*token|\w*secret|passw\w*|credential\w*|api[-_]?key)[\"']?\s*[:=]\s*)"
    r"(?:(?:basic|bearer)\s+)?[\"']?[^\s\"',;&]+",
    re.IGNORECASE,
)
"""What looks like a secret in a log line: a telling name, and what follows it."""
_DUMPS = {"links": 18, "addresses": 22, "routes": 26, "neighbours": 30, "rules": 34}
"""RTM_GETLINK and so on (linux/rtnetlink.h), by the name of the file."""
_REQUEST_BYTES = {"links": 16, "addresses": 8, "routes": 12, "neighbours": 12, "rules": 12}
_VS = Path("/proc/sys/net/ipv4/vs")
_PACKAGES = ("pyroute2", "aiohttp", "msgspec", "typer", "rich")


class BundleError(HostError):
    """Raised when the file cannot be written. The message says why."""


def write_bundle(path: Path, parts: Mapping[str, str]) -> None:
    """Write these texts into a new tar.gz file that only this user may read. Raises `BundleError`.

    parts: each text, by its file's name.
    """
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for name, text in parts.items():
            content = text.encode("utf-8", "backslashreplace")
            entry = tarfile.TarInfo(f"{FOLDER}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
            tar.addfile(entry, io.BytesIO(content))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise BundleError(f"{path}: it exists, and is not overwritten") from None
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(packed.getvalue())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise BundleError(f"{path}: {error.strerror}") from error


def parts(
    file: Path,
    config: Config | None,
    status: bytes,
    seen: Observations,
    judged: tuple[Iterable[Finding], Iterable[Note]],
) -> dict[str, str]:
    """Return the texts for a bundle, without secrets.

    file: the configuration's file.
    config: what it says; None if it cannot be read.
    status: the daemon's answer; empty without one.
    judged: the findings and notes.
    """
    netns = Netns(config.ipvs.netns if config is not None else "")
    texts = {
        "findings.json": _json({"findings": list(judged[0]), "notes": list(judged[1])}),
        "observations.json": _json(seen),
        "versions.txt": _versions(),
        "sysctls.txt": _sysctls(netns, seen),
        "table.txt": seen.table,
        "config.toml": to_toml(config) if config is not None else "\n".join(seen.config_errors) + "\n",
        **_network(netns),
        "log.txt": _in_logs(_log()),
    }
    if status:
        texts["status.json"] = _json(msgspec.json.decode(status))
    secrets = sorted(_secrets(file), key=len, reverse=True)
    return {name: _without(text, secrets) for name, text in texts.items()}


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        # A text in JSON or TOML may have it with escapes.
        for form in {secret, json.dumps(secret)[1:-1]}:
            text = text.replace(form, HIDDEN)
    return text


def _in_logs(text: str) -> str:
    return _VALUE.sub(rf"\1{HIDDEN}", text)


def _secrets(file: Path) -> Iterator[str]:
    """Yield the secrets of a configuration's file, and of the files that it names."""
    try:
        document = whole_file(file).document
    except ConfigError:
        return
    for where, value in leaves(document, plain_arrays=False):
        if not isinstance(value, str) or not value:
            continue
        if where[-1] in SECRET_FILE_KEYS:
            yield from _in_file(Path(value))
        elif holds_secret(where, value):
            yield from (each for each in _parts(str(where[-1]), value) if len(each) >= _SHORTEST_SECRET)


def _parts(key: str, value: str) -> Iterator[str]:
    """Yield what is secret in a value: all of it, unless it is a command or a path around a secret."""
    match key:
        case "send" | "send_body":
            found = parts_of_command(value.encode())
        case "path":
            found = parts_of_request(value, ())
        case _:
            yield value
            found = parts_of_request("", ((key, value),))
    yield from (each.decode("utf-8", "replace") for each in found)


def _in_file(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as opened:
            text = opened.read(_LONGEST_SECRET).decode("utf-8", "replace")
    except OSError:
        return
    yield from (each for line in text.splitlines() if len(each := line.strip()) >= _SHORTEST_SECRET)


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n"


def _versions() -> str:
    lines = [f"lvs-healthd {__version__}", f"Python {platform.python_version()}", " ".join(platform.uname())]
    for name in _PACKAGES:
        try:
            lines.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"{name}: its version is not known")
    return "\n".join(lines) + "\n"


def _sysctls(netns: Netns, seen: Observations) -> str:
    values = dict(seen.host.sysctls)
    try:
        with netns.entered():
            for file in sorted(_VS.iterdir()) if _VS.is_dir() else ():
                try:
                    values[f"net.ipv4.vs.{file.name}"] = file.read_text(encoding="ascii", errors="replace").strip()
                except OSError as error:
                    values[f"net.ipv4.vs.{file.name}"] = f"cannot be read: {error.strerror}"
    except NetnsError as error:
        values["error"] = str(error)
    return "".join(f"{name} = {value}\n" for name, value in sorted(values.items()))


def _network(netns: Netns) -> dict[str, str]:
    """Return what the kernel says of links, addresses, routes, rules and neighbours, one entry per line."""
    found = {}
    for name, kind in _DUMPS.items():
        try:
            with netns.entered(), links.asking() as opened:
                answers = links.dumped(opened, kind, bytes(_REQUEST_BYTES[name]))
        except (OSError, NetnsError) as error:
            found[f"{name}.jsonl"] = f"{error}\n"
            continue
        messages: list[Any] = [each for answer in answers for each in links.parser().parse(answer)]
        lines = [json.dumps(_plain(each), default=repr) for each in messages[:MOST_ENTRIES] if "attrs" in each]
        if len(messages) > MOST_ENTRIES:
            lines.append(json.dumps({"left out": len(messages) - MOST_ENTRIES}))
        found[f"{name}.jsonl"] = "\n".join(lines) + "\n"
    return found


def _plain(message: Any) -> Any:  # noqa: ANN401  # pyroute2 has no types
    """Return a message of pyroute2 as plain values: its fields and its attributes by name."""
    if not isinstance(message, dict):
        return message
    fields = {name: _plain(value) for name, value in message.items() if name not in {"attrs", "header", "value"}}
    return fields | {str(each[0]): _plain(each[1]) for each in message.get("attrs", ())}


def _log() -> str:
    """Return the last lines of the daemon's log, or why they cannot be read."""
    command = ["journalctl", "-u", "lvs-healthd", "-n", str(LOG_LINES), "--no-pager", "-o", "short-iso"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_LOG_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{error}\n"
    return ran.stdout or ran.stderr
