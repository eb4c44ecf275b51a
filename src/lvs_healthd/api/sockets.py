"""Opens the listening sockets, TCP and Unix, with errors an operator understands."""

import errno
import os
import socket
import stat
from pathlib import Path

from lvs_healthd.api.listening import ApiError, address_in_use, refused
from lvs_healthd.config.model import Endpoint, Family, canonical_address

BACKLOG = 64
"""Connections the kernel may hold for us while the loop is busy."""

CONTROL_MODE = 0o660
"""Owner and group: whoever is in the daemon's group may ask it for its status."""

_PROBE_TIMEOUT_S = 0.5


def parse_listen(listen: str) -> Endpoint:
    """Read "127.0.0.1:9880" or "[::1]:9880". Raises `ApiError`."""
    host, _, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = canonical_address(host[1:-1] if bracketed else host)
    except ValueError:
        address = ""
    digits = port.isascii() and port.isdigit() and int(port) <= 65535
    if not address or not digits or bracketed != (":" in address):
        raise ApiError(f'listen {listen}: expected address:port, as in "127.0.0.1:9880" or "[::1]:9880"')
    return Endpoint(address, int(port))


def open_listen(listen: str) -> socket.socket:
    """Open a listening TCP socket on `listen`. Raises `ApiError`."""
    endpoint = parse_listen(listen)
    hint = "ports below 1024 need CAP_NET_BIND_SERVICE" if 0 < endpoint.port < 1024 else ""
    try:
        return _listening_tcp(endpoint)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise address_in_use(listen, endpoint.port) from error
        raise refused(f"listen {listen}", error, hint=hint if error.errno == errno.EACCES else "") from error


def open_control(path: str) -> socket.socket:
    """Open the control socket at `path`, replacing one that a killed daemon left; make its folder where it is missing.

    Raises `ApiError`.
    """
    what = f"control {path}"
    try:
        # Under systemd RuntimeDirectory= has made it; by hand nobody has.
        Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _make_room(path)
        return _listening_unix(path)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ApiError(f"{what}: another program took the path just now") from error
        # Both paths named: at 3 a.m. the directory is what is wrong.
        hint = f"the daemon must be able to write in {Path(path).parent}"
        raise refused(
            what, error, hint=hint if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else ""
        ) from error


def remove_control(path: str, identity: tuple[int, int]) -> None:
    """Remove the socket file, unless by now it is another one than the (device, inode) we made."""
    try:
        if file_identity(path) == identity:
            Path(path).unlink()
    except OSError:
        # Gone already, or not ours to remove any more: the next daemon finds out whether it is stale.
        return


def file_identity(path: str) -> tuple[int, int]:
    """Return the file's device and inode."""
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _listening_tcp(endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if endpoint.family is Family.IPV6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # A restart must not wait for TIME_WAIT. It does not let two daemons share the port on Linux.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "[::]" means IPv6; whoever wants both says so when there is a way to say it.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((endpoint.address, endpoint.port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _listening_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    # bind() creates the file with 0777 & ~umask: this way there is no moment in which the mode is wrong.
    umask = os.umask(0o777 & ~CONTROL_MODE)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(umask)
    return listener


def _make_room(path: str) -> None:
    """Remove a socket nobody listens on. Raises `ApiError` when the path is in use or is no socket."""
    what = f"control {path}"
    # sun_path holds 108 bytes with its final NUL: unix(7).
    if not path or len(os.fsencode(path)) > 107:
        raise ApiError(f"{what}: a socket's path must have 1 to 107 bytes")
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ApiError(f"{what}: something that is not a socket is in the way; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
        except (TimeoutError, BlockingIOError):
            pass  # somebody holds it and is slow, or has a full backlog
    raise ApiError(f"{what}: another lvs-healthd is running on this socket; stop it, or give this one its own path")
