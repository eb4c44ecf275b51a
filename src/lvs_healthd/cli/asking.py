"""Sends requests to the running daemon over its control socket, and explains why if it does not answer."""

import grp
import http.client
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.model import Daemon
from lvs_healthd.config.text import read_text, toml_document
from lvs_healthd.runtime.exceptions import PeerError

TIMEOUT_S = 5.0
"""How long to wait for an answer, seconds. A daemon that takes longer is stuck; its watchdog has the same limit."""

_PIECE_BYTES = 1 << 16

_SECTION = re.compile(r"\s*\[([^\[\]]*)\]\s*(?:#.*)?")
_CONTROL = re.compile(r"""\s*control\s*=\s*(["'])([^"'\\]*)\1\s*(?:#.*)?""")


class ControlError(PeerError):
    """Raised when the daemon cannot be reached or does not answer. The text says why, and what to type next."""


def find_socket(config: Path, *, explicit: bool) -> tuple[str, str]:
    """Return the control socket's path from the configuration, and a remark if the path had to be guessed.

    Only this one key is read, so a configuration that is broken elsewhere still works.

    config: path of the configuration file.
    explicit: whether the operator named the file, and so wants to know if it does not exist.
    """
    default = Daemon().control
    try:
        text = read_text(config)
    except ConfigError as error:
        is_remarkable = explicit or not isinstance(error.__cause__, FileNotFoundError)
        return default, f"{error}; asking at the default {default}" if is_remarkable else ""
    try:
        section = toml_document(text, str(config)).get("daemon", {})
    except ConfigError as error:
        found = _search_broken(text) or default
        return found, f"{error}; asking at {found}"
    control = section.get("control", default) if isinstance(section, dict) else default
    if isinstance(control, str) and control:
        return control, ""
    return default, f"{config}: daemon.control is not a path; asking at the default {default}"


class RefusedError(ControlError):
    """Raised when the daemon refuses a request.

    status: the HTTP status.
    why: the daemon's own reason, or "" if it gave none.
    """

    def __init__(self, text: str, status: int, why: str) -> None:
        super().__init__(text)
        self.status = status
        self.why = why


def get(control: str, path: str, *, timeout_s: float = TIMEOUT_S) -> bytes:
    """Fetch an answer from the daemon.

    control: path of the control socket.
    path: path of the API's endpoint, with the query.
    timeout_s: how long to wait for each piece of the answer, seconds.

    Raises `ControlError` if the daemon cannot be reached or breaks off, and `RefusedError` if it refuses.
    """
    return b"".join(pieces(control, path, timeout_s=timeout_s))


def pieces(control: str, path: str, *, timeout_s: float = TIMEOUT_S) -> Iterator[bytes]:
    """Fetch an answer like `get`, but yield it piece by piece as it arrives."""
    connection = _UnixConnection(control, timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            text = f"{control}: the daemon answered {response.status} {response.reason} to {path}"
            raise RefusedError(text, response.status, _words(response.read()))
        while piece := response.read(_PIECE_BYTES):
            yield piece
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
    except OSError as error:
        raise ControlError(f"{control}: {_why(control, error)}") from error
    except http.client.HTTPException as error:
        raise ControlError(f"{control}: something answers, but not lvs-healthd ({type(error).__name__})") from error
    finally:
        connection.close()


def _words(body: bytes) -> str:
    """Return the reason that the daemon gives for a refusal."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return ""


def _search_broken(text: str) -> str:
    """Find the value of `daemon.control` in a file that is not valid TOML. The key's own line must be valid."""
    section = ""
    for line in text.splitlines():
        if heading := _SECTION.fullmatch(line):
            section = heading[1].strip()
        elif section == "daemon" and (control := _CONTROL.fullmatch(line)):
            return control[2]
    return ""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, control: str, timeout_s: float) -> None:
        super().__init__("control", timeout=timeout_s)
        self._control = control
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(self._control)


def _why(control: str, error: OSError) -> str:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return (
                "no such socket: the daemon is not running, or listens elsewhere (--control PATH or --config FILE). "
                "See `systemctl status lvs-healthd`"
            )
        case ConnectionRefusedError():
            return "nobody listens on this socket: the daemon is not running. See `systemctl status lvs-healthd`"
        case PermissionError():
            return f"permission denied: become root or a member of the group {_group(control)}"
        case TimeoutError():
            return f"no answer in {TIMEOUT_S:g}s: the daemon is stuck. See `journalctl -u lvs-healthd`"
        case ConnectionResetError() | BrokenPipeError():
            return "the daemon hung up: it is stopping right now or out of descriptors. Try again"
        case _:
            return error.strerror or str(error)


def _group(control: str) -> str:
    """Return the name of the group that may connect to the control socket.

    It is the directory's group if the directory does not even let this user see the socket.
    """
    for path in (control, os.path.dirname(control)):  # noqa: PTH120  # a plain string will do
        try:
            return grp.getgrgid(os.stat(path).st_gid).gr_name  # noqa: PTH116  # same
        except (OSError, KeyError):
            continue
    return "lvs-healthd"
