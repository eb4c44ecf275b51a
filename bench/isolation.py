"""Moves the benchmark into its own network namespace: no other connections are counted, and no port is in use.

(`os.unshare` came with Python 3.12, hence the command.)
"""

import os
import sys
from collections.abc import Sequence

_MARK = "LVS_HEALTHD_BENCH_ISOLATED"


def isolate(module: str) -> None:
    """Restart this program, given its module's name, in a network namespace that has only a loopback interface.

    Returns if the program has already been restarted. Raises `OSError` when there is no unshare(1).
    """
    if os.environ.get(_MARK):
        return
    # Only root may make a network namespace. Another user becomes root by making a user namespace as well.
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    os.environ[_MARK] = "1"
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    os.execvp(unshare[0], [*unshare, "sh", "-c", 'ip link set lo up && exec "$@"', "bench", *_command(module)])  # noqa: S606


def _command(module: str) -> Sequence[str]:
    return [sys.executable, "-m", module, *sys.argv[1:]]
