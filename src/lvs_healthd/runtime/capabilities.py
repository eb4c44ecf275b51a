"""Tells which capabilities (capabilities(7)) this process has, and gives up those that it does not need.

Python has no functions for capabilities, so libc's are called.
"""

import ctypes
import os
import re
from pathlib import Path

CAP_DAC_READ_SEARCH = 2
CAP_NET_RAW = 13
CAP_SYS_MODULE = 16
"""Numbers of capabilities (linux/capability.h)."""

_VERSION_3 = 0x20080522
_BITS = 32
"""Version 3 of capset(2) takes 64 capabilities, in two structures. Each has three sets of 32 bits."""

_PR_SET_NO_NEW_PRIVS = 38
"""An operation of prctl(2) (linux/prctl.h)."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def has_capability(number: int) -> bool:
    """Return whether the calling thread has a capability in force. False if /proc cannot be read."""
    return bool(_effective() >> number & 1)


def give_up_capabilities(*kept: int) -> None:
    """Give up every capability except those in `kept`. This is final: no program that is run later gains any.

    Only the calling thread is affected, and threads that it starts later. So call this before there are other threads.

    kept: the numbers of the capabilities to keep, if the process has them.

    Raises `OSError` when the kernel refuses, or when a filter for system calls does.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _must(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    left = _effective() & sum(1 << each for each in kept)
    words = [left >> shift & 0xFFFFFFFF for shift in (0, _BITS)]
    # The inheritable set becomes empty. The kernel then empties the ambient set too.
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
