"""Brings lvs-healthd to a steady state: every server is up, and the schedule of the start is over."""

import contextlib
import time
from collections.abc import Iterator, Sequence

from bench.healthd import Healthd, Load, configuration, folder, running_daemon
from bench.processes import Command

LAG = "lvs_healthd_schedule_lag_seconds"
LOOP_LAG = "lvs_healthd_loop_lag_seconds"
SKIPPED = "lvs_healthd_probes_skipped_total"


@contextlib.contextmanager
def steady_daemon(
    load: Load, *, servers: Sequence[str] = (), check: str = "", daemon: str = "", command: Command = ()
) -> Iterator[Healthd]:
    """Run the daemon with the table in memory, and yield it once it is in the steady state.

    command: what to run instead of the daemon as installed; the configuration file is appended to it.
    """
    with folder() as place:
        text = configuration(load, place, servers=servers, check=check, daemon=daemon)
        with running_daemon(text, place, command=command) as healthd:
            healthd.wait_for("daemon.started")
            healthd.wait_until_up(load.count)
            time.sleep(load.interval_s)
            healthd.program.calm_from = time.time()
            yield healthd
