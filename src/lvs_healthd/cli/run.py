"""`lvs-healthd run`: runs the daemon in the foreground."""

import asyncio
import enum
import sys
from typing import Annotated

import typer

from lvs_healthd.cli.asking import ExitStatus, FileOption
from lvs_healthd.cli.table_kind import TableKind, TableOption
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import DEFAULT_FILE
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


class LogLevel(enum.StrEnum):
    """The lowest level of log lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def run(
    config: FileOption = DEFAULT_FILE,
    *,
    shadow: Annotated[bool, typer.Option("--shadow", help="Decide, log and count, but write nothing.")] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Start even if that takes out too many serving servers."),
    ] = False,
    table: TableOption = TableKind.KERNEL,
    log_level: Annotated[LogLevel, typer.Option(help="The lowest level of log lines to write.")] = LogLevel.INFO,
) -> None:
    """Probe the real servers and keep the IPVS table true, until SIGTERM.

    SIGHUP reloads the configuration. Stopping leaves the table as it is.
    """
    log = configure(level=log_level)
    is_real = table is TableKind.KERNEL
    netns = Netns()
    chosen: IpvsTable = IpvsClient(netns=netns) if is_real else MemoryTable(keeps_writes=False)

    async def serve() -> None:
        settings = Settings(config_file=config, shadow=shadow, force=force)
        kept = aspects(netns) if is_real else ()
        await Daemon(settings, chosen, log, exclusive=is_real, netns=netns, aspects=kept).run()

    try:
        asyncio.run(serve())
    except HealthdError as error:
        if sys.stderr.isatty():
            typer.echo(f"lvs-healthd: cannot start: {error}", err=True)
        elif isinstance(error, ConfigError):
            log(ConfigRejected(file=str(config), errors=error.errors))
        else:
            log(DaemonFailed(error=str(error)))
        raise typer.Exit(ExitStatus.FAILED) from None
