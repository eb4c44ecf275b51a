"""Moves the benchmark into a network namespace of its own: nobody else's connections are counted, no port is taken.

(`os.unshare` came with Python 3.12, hence the command.)
"""

import os
import sys
from collections.abc import Sequence

_MARK = "LVS_HEALTHD_BENCH_ISOLATED"


def isolate(module: str) -> None:
    """Start this program anew, by its module's name, in a network namespace with nothing but a loopback; once.

    Returns when that has been done. Raises `OSError` when there is no unshare(1).
    """
    if os.environ.get(_MARK):
        return
    # Anybody may make a namespace who is root in one; to be root there, a user needs a user namespace as well.
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    os.environ[_MARK] = "1"
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    os.execvp(unshare[0], [*unshare, "sh", "-c", 'ip link set lo up && exec "$@"', "bench", *_command(module)])  # noqa: S606


def _command(module: str) -> Sequence[str]:
    return [sys.executable, "-m", module, *sys.argv[1:]]
