"""Opens the listening sockets, TCP and Unix, with errors that an operator understands."""

import errno
import os
import socket
import stat
from pathlib import Path

from lvs_healthd.api.listening import ApiError, address_in_use, refused
from lvs_healthd.config.basics import Endpoint, Family, canonical_address

BACKLOG = 64
"""How many new connections the kernel may queue while the event loop is busy."""

CONTROL_MODE = 0o660
"""The mode of the control socket: owner and group may read and write, so members of the daemon's group may connect."""

_PROBE_TIMEOUT_S = 0.5


def parse_listen(listen: str) -> Endpoint:
    """Parse "127.0.0.1:9880" or "[::1]:9880". Raises `ApiError` for anything else."""
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
    """Open a listening TCP socket on `listen` ("127.0.0.1:9880"). Raises `ApiError` when it cannot be opened."""
    endpoint = parse_listen(listen)
    hint = "ports below 1024 need CAP_NET_BIND_SERVICE" if 0 < endpoint.port < 1024 else ""
    try:
        return _listening_tcp(endpoint)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise address_in_use(listen, endpoint.port) from error
        raise refused(f"listen {listen}", error, hint=hint if error.errno == errno.EACCES else "") from error


def open_control(path: str) -> socket.socket:
    """Open the control socket at `path`. Makes the folder if it is missing, and replaces a socket that nobody uses.

    Raises `ApiError` when the path is in use, is not a socket, or cannot be written.
    """
    what = f"control {path}"
    try:
        # Under systemd, RuntimeDirectory= has made the folder. If the daemon was started by hand, it may be missing.
        Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _make_room(path)
        return _listening_unix(path)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ApiError(f"{what}: another program took the path just now") from error
        # The message also names the folder, because usually that is the problem.
        hint = f"the daemon must be able to write in {Path(path).parent}"
        raise refused(
            what, error, hint=hint if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else ""
        ) from error


def remove_control(path: str, identity: tuple[int, int]) -> None:
    """Remove the control socket's file, unless another file has taken its place.

    path: the path of the file.
    identity: the device and inode of the file when it was made.
    """
    try:
        if file_identity(path) == identity:
            Path(path).unlink()
    except OSError:
        # The file is already gone, or the daemon may no longer remove it. The next daemon finds out that it is stale.
        return


def file_identity(path: str) -> tuple[int, int]:
    """Return the device and inode of a file. Another file at the same path has other numbers."""
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _listening_tcp(endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if endpoint.family is Family.IPV6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # With SO_REUSEADDR, a restart does not have to wait for TIME_WAIT. On Linux the option does not let two daemons
        # share the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "[::]" means IPv6 only, whatever net.ipv6.bindv6only says.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((endpoint.address, endpoint.port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _listening_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    # bind() creates the file with mode 0777 & ~umask. The umask is set first, so that the mode is never wrong.
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
    """Remove a socket that nobody listens on. Raises `ApiError` when the path is in use or is not a socket."""
    what = f"control {path}"
    # sun_path holds 108 bytes including the final NUL: unix(7).
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
            pass  # a process listens on the socket, but is slow or has a full backlog
    raise ApiError(f"{what}: another lvs-healthd is running on this socket; stop it, or give this one its own path")
