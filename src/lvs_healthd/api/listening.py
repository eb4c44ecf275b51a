"""Explains to the operator why the API cannot listen, and what to do about it."""

import errno

from lvs_healthd.runtime.exceptions import HostError


class ApiError(HostError):
    """Raised when an address or a socket path cannot be used. The text is for the operator."""


def refused(what: str, error: OSError, *, hint: str = "") -> ApiError:
    """Make the error for a failed bind.

    what: the configuration's key and its value, as in "listen 127.0.0.1:9880" or "control /run/…".
    error: why the bind failed.
    hint: what to do about it, if known.
    """
    meaning = _MEANINGS.get(error.errno or 0, error.strerror or str(error))
    return ApiError(f"{what}: {meaning}" + (f"; {hint}" if hint else ""))


def address_in_use(listen: str, port: int) -> ApiError:
    """Make the error for a TCP address that is in use. It names the command that shows which program uses it."""
    return ApiError(
        f"listen {listen}: address already in use: another program (maybe another lvs-healthd) has it; "
        f"see `ss -ltnp 'sport = :{port}'`"
    )


_MEANINGS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EADDRNOTAVAIL: "no interface of this host has that address",
    errno.EAFNOSUPPORT: "this host does not speak that address family (is IPv6 disabled?)",
    errno.EEXIST: "a part of the path is not a directory",
    errno.ENOTDIR: "a part of the path is not a directory",
    errno.EROFS: "the file system is read-only",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files on this host",
}
