"""Decides where the lab can run: on this machine, or only in a guest."""

import functools
import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

MODE = os.environ.get("LVS_HEALTHD_LAB", "")
"""The variable is "inside" within the guest. A user may set it to "vm" to get a guest even if the host has IPVS."""

KERNEL = os.environ.get("LVS_HEALTHD_LAB_KERNEL", "")
"""A user may set the variable to a Debian suite, such as "trixie" or "sid", to get a guest with that suite's kernel."""


@functools.cache
def needs_guest() -> bool:
    """Return whether everything that needs IPVS must run in a guest.

    This is found out once per process. To find out, the module `ip_vs` may be loaded.
    """
    if MODE == "inside":
        return False
    if MODE == "vm" or KERNEL:
        return True
    return not (os.geteuid() == 0 and _has_ipvs() and _succeeds("unshare", "--net", "true"))


def _has_ipvs() -> bool:
    return Path("/proc/net/ip_vs").exists() or _succeeds("modprobe", "--quiet", "ip_vs")


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
