"""Runs the daemon in the foreground for `lvs-healthd run`, and says why it cannot start. It needs no typer."""

import asyncio
import sys
from pathlib import Path

from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.daemon.daemon import Daemon
from lvs_healthd.daemon.parts import Settings
from lvs_healthd.director import aspects
from lvs_healthd.events.kinds import ConfigRejected, DaemonFailed
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.interface import IpvsTable
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.log import configure
from lvs_healthd.runtime.exceptions import HealthdError
from lvs_healthd.runtime.netns import Netns


def serve(
    config: Path, *, shadow: bool = False, force: bool = False, table: str = "kernel", log_level: str = "info"
) -> int:
    """Run the daemon until SIGTERM. Return the exit status.

    table: "kernel" or "memory".
    log_level: the lowest level of log lines: "debug", "info", "warning" or "error".
    """
    log = configure(level=log_level)
    is_real = table == "kernel"
    netns = Netns()
    chosen: IpvsTable = IpvsClient(netns=netns) if is_real else MemoryTable(keeps_writes=False)

    async def run() -> None:
        settings = Settings(config_file=config, shadow=shadow, force=force)
        kept = aspects(netns) if is_real else ()
        await Daemon(settings, chosen, log, exclusive=is_real, netns=netns, aspects=kept).run()

    try:
        asyncio.run(run())
    except HealthdError as error:
        if sys.stderr.isatty():
            sys.stderr.write(f"lvs-healthd: cannot start: {error}\n")
        elif isinstance(error, ConfigError):
            log(ConfigRejected(file=str(config), errors=error.errors))
        else:
            log(DaemonFailed(error=str(error)))
        return ExitStatus.FAILED
    finally:
        log.close()
    return ExitStatus.OK
