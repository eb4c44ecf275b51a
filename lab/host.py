"""Where the lab can run: right here, or only in a guest."""

import functools
import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

MODE = os.environ.get("LVS_HEALTHD_LAB", "")
"""Set to "inside" within the guest; a user may set it to "vm" to get a guest even where the host has IPVS."""

KERNEL = os.environ.get("LVS_HEALTHD_LAB_KERNEL", "")
"""A user may set it to a Debian suite, such as "trixie" or "sid", to get a guest with that suite's kernel."""


@functools.cache
def needs_guest() -> bool:
    """Whether kernel work has to go to a guest. Decided once per process; may load the `ip_vs` module."""
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
