"""Lets a verb find the running daemon, ask it, explain why there is no answer, and exit with the right status."""

import contextlib
import enum
import grp
import http.client
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar

import msgspec
import typer

from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.model import Daemon
from lvs_healthd.config.parts import whole
from lvs_healthd.config.text import DEFAULT_FILE, read_text
from lvs_healthd.runtime.exceptions import PeerError


class NagiosStatus(enum.IntEnum):
    """What `status --check` exits with: the convention of Nagios's plugins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    """A service has no real server that may serve, the brake is on, or the table or a setting cannot be written."""
    UNKNOWN = 3


FileOption = Annotated[Path, typer.Option("--config", help="The configuration file.", readable=False)]
"""For verbs that read the whole file themselves."""
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Configuration file that names the daemon's sockets.", show_default=str(DEFAULT_FILE)
    ),
]
ControlOption = Annotated[
    str | None,
    typer.Option("--control", metavar="SOCKET", help="The control socket; overrides the configuration's."),
]

AllOption = Annotated[bool, typer.Option("--all", help="Also the mark services of path probes.")]

TIMEOUT_S = 5.0
"""How long to wait for an answer, seconds. A daemon that takes longer is stuck; its watchdog has the same limit."""

_PIECE_BYTES = 1 << 16

_SECTION = re.compile(r"\s*\[([^\[\]]*)\]\s*(?:#.*)?")
_VALUE = re.compile(r"""\s*(control|listen)\s*=\s*(["'])([^"'\\]*)\2\s*(?:#.*)?""")

_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # nothing is bound here

_Value = TypeVar("_Value")


class ControlError(PeerError):
    """Raised when the daemon gives no useful answer. The text says why, and what to type next."""

    status: ExitStatus = ExitStatus.FAILED


class UnreachableError(ControlError):
    """Raised when no daemon answers."""

    status = ExitStatus.UNREACHABLE


class NoSocketError(UnreachableError):
    """Raised when the control socket does not exist."""


class RefusedError(ControlError):
    """Raised when the daemon refuses a request.

    code: the HTTP status.
    why: the daemon's own reason, or "" if it gave none.
    body: the daemon's whole answer.
    """

    def __init__(self, text: str, code: int, body: bytes) -> None:
        self.code = code
        self.why = _words(body)
        self.body = body
        super().__init__(self.why or text)


class Place(NamedTuple):
    """Where a daemon listens."""

    control: str
    """The path of the control socket."""
    listen: str
    """The TCP address, such as "127.0.0.1:9880"; "" if there is none."""
    remark: str
    """What the operator should know if the place had to be guessed; "" if it did not."""


class RunningDaemon:
    """Sends one verb's requests to the running daemon.

    verb: the verb's name, for messages on standard error.
    config: the configuration file that names the sockets; None means the default one.
    control: the control socket; None means the configuration's.
    is_quiet: whether to write nothing while asking, because a screen is drawn.
    """

    def __init__(self, verb: str, config: Path | None, control: str | None, *, is_quiet: bool = False) -> None:
        self._verb = verb
        if control:
            self._place = Place(control, "", "")
        else:
            self._place = find_daemon(config or DEFAULT_FILE, explicit=config is not None)
        if self._place.remark:
            say(verb, self._place.remark)
        self._told = is_quiet

    def get(self, path: str, *, timeout_s: float = TIMEOUT_S) -> bytes:
        """Fetch `path`.

        timeout_s: how long to wait for each piece of the answer, seconds.

        Raises `UnreachableError` if nobody answers, and `RefusedError` if the daemon refuses.
        """
        return b"".join(self.pieces(path, timeout_s=timeout_s))

    def pieces(self, path: str, *, timeout_s: float = TIMEOUT_S) -> Iterator[bytes]:
        """Fetch `path` like `get`, but yield the answer piece by piece as it arrives."""
        try:
            yield from pieces(self._place.control, path, timeout_s=timeout_s)
        except NoSocketError:
            connection = _tcp_connection(self._place.listen, timeout_s)
            if connection is None:
                raise
            # Somebody may have removed the socket's file while the daemon runs on.
            try:
                connection.connect()
            except OSError:
                connection.close()
                raise NoSocketError(str(_no_socket(self._place.control))) from None
            if not self._told:
                say(self._verb, f"{self._place.control}: no such socket; asking at {self._place.listen}")
                self._told = True
            yield from _pieces(connection, self._place.listen, "GET", path)

    def post(self, path: str, *, timeout_s: float) -> bytes:
        """Ask the daemon for a change, with a POST request to `path`, and return the answer.

        Requests for changes go only over the control socket. Arguments and errors are those of `get`.
        """
        return b"".join(_pieces(_UnixConnection(self._place.control, timeout_s), self._place.control, "POST", path))


def decoded(body: bytes, kind: type[_Value]) -> _Value:
    """Decode the JSON of an answer into a value of type `kind`. Raises `ControlError` if it has another form."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ControlError(f"cannot understand the daemon's answer: is it a different version? ({error})") from error


@contextlib.contextmanager
def explained(verb: str) -> Iterator[None]:
    """Write the text of a `ControlError` to standard error, and exit with the error's status."""
    try:
        yield
    except ControlError as error:
        end(verb, str(error), error.status)


def say(verb: str, text: str) -> None:
    """Write a line for the operator on standard error."""
    typer.echo(f"lvs-healthd {verb}: {text}", err=True)


def end(verb: str, text: str, status: ExitStatus = ExitStatus.FAILED) -> NoReturn:
    """Write to standard error why the verb ends here, and exit with `status`."""
    say(verb, text)
    raise typer.Exit(status)


def find_daemon(config: Path, *, explicit: bool) -> Place:
    """Return where the daemon of this configuration listens.

    Only two keys are read, so a configuration that is broken elsewhere still works.

    explicit: whether the operator named the file and so wants to know if it does not exist.
    """
    default = Daemon()
    try:
        text = read_text(config)
    except ConfigError as error:
        is_remarkable = explicit or not isinstance(error.__cause__, FileNotFoundError)
        remark = f"{error}; asking at the default {default.control}" if is_remarkable else ""
        return Place(default.control, default.listen, remark)
    try:
        section = whole(text, str(config)).document.get("daemon", {})
    except ConfigError as error:
        found = _search_broken(text)
        control = found.get("control") or default.control
        return Place(control, found.get("listen", default.listen), f"{error}; asking at {control}")
    keys: dict[str, Any] = section if isinstance(section, dict) else {}
    control, listen = keys.get("control", default.control), keys.get("listen", default.listen)
    listen = listen if isinstance(listen, str) else ""
    if isinstance(control, str) and control:
        return Place(control, listen, "")
    remark = f"{config}: daemon.control is not a path; asking at the default {default.control}"
    return Place(default.control, listen, remark)


def pieces(control: str, path: str, *, timeout_s: float = TIMEOUT_S) -> Iterator[bytes]:
    """Fetch `path` from the daemon that listens on the socket `control`, piece by piece.

    Arguments and errors are those of `RunningDaemon.get`.
    """
    return _pieces(_UnixConnection(control, timeout_s), control, "GET", path)


def _pieces(connection: http.client.HTTPConnection, place: str, method: str, path: str) -> Iterator[bytes]:
    try:
        connection.request(method, path)
        response = connection.getresponse()
        if not isinstance(connection, _UnixConnection) and response.headers["Server"] != "lvs-healthd":
            # Anybody may listen on a TCP port.
            raise UnreachableError(f"{place}: something answers, but not lvs-healthd")
        if response.status != http.HTTPStatus.OK:
            text = f"{place}: the daemon answered {response.status} {response.reason} to {path}"
            raise RefusedError(text, response.status, response.read())
        while piece := response.read(_PIECE_BYTES):
            yield piece
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _no_socket(place) from error
    except OSError as error:
        raise UnreachableError(f"{place}: {_why(place, error)}") from error
    except http.client.HTTPException as error:
        raise UnreachableError(f"{place}: something answers, but not lvs-healthd ({type(error).__name__})") from error
    finally:
        connection.close()


def _no_socket(control: str) -> NoSocketError:
    return NoSocketError(
        f"{control}: no such socket: the daemon is not running, or listens elsewhere (--control PATH or "
        "--config FILE). See `systemctl status lvs-healthd`"
    )


def _words(body: bytes) -> str:
    """Return the reason that the daemon gives for a refusal."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return ""


def _search_broken(text: str) -> dict[str, str]:
    """Find `control` and `listen` in a file that is not valid TOML. Only the lines of these keys must be valid."""
    section = ""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if heading := _SECTION.fullmatch(line):
            section = heading[1].strip()
        elif section == "daemon" and (value := _VALUE.fullmatch(line)):
            found.setdefault(value[1], value[3])
    return found


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, control: str, timeout_s: float) -> None:
        super().__init__("control", timeout=timeout_s)
        self._control = control
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(self._control)


def _tcp_connection(listen: str, timeout_s: float) -> http.client.HTTPConnection | None:
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not int(port):
        return None
    return http.client.HTTPConnection(_LOCAL.get(host, host), int(port), timeout=timeout_s)


def _why(place: str, error: OSError) -> str:
    match error:
        case ConnectionRefusedError():
            return "nobody listens on this socket: the daemon is not running. See `systemctl status lvs-healthd`"
        case PermissionError():
            return f"permission denied: become root or a member of the group {_group(place)}"
        case TimeoutError():
            return "no answer in time: the daemon is stuck. See `journalctl -u lvs-healthd`"
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
