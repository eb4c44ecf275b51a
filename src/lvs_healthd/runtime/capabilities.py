"""Capabilities (capabilities(7)): which ones this process has, and how a process that needs few gives up the others.

Python has no call for them, so libc's is used.
"""

import ctypes
import os
import re
from pathlib import Path

CAP_DAC_READ_SEARCH = 2
CAP_SYS_MODULE = 16
"""linux/capability.h"""

_VERSION_3 = 0x20080522
_BITS = 32
"""Version 3 of capset(2) takes 64 capabilities, as two structures of three sets with 32 bits each."""

_PR_SET_NO_NEW_PRIVS = 38
"""linux/prctl.h"""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def has_capability(number: int) -> bool:
    """Return whether a capability is in force for this process. Without /proc the answer is no."""
    return bool(_effective() >> number & 1)


def give_up_capabilities(*kept: int) -> None:
    """Give up every capability but those in `kept`, for good: no program that is run later gains any.

    It acts on the calling thread, so call it before there are others.

    kept: capabilities to keep if the process has them.

    Raises `OSError` when the kernel refuses, which a filter for system calls may do.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _must(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    left = _effective() & sum(1 << each for each in kept)
    words = [left >> shift & 0xFFFFFFFF for shift in (0, _BITS)]
    # Nothing is inheritable, and the kernel takes from the ambient set what is not.
    sets = (_Sets * 2)(*(_Sets(word, word, 0) for word in words))
    _must(libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), sets), "capset")


def _effective() -> int:
    try:
        status = Path("/proc/thread-self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return int(found[1], 16) if found else 0


def _must(result: int, call: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")
