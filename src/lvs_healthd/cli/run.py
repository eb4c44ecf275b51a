"""`lvs-healthd run`: runs the daemon in the foreground."""

import enum
from typing import Annotated

import typer

from lvs_healthd.cli.asking import FileOption
from lvs_healthd.cli.serve import serve
from lvs_healthd.cli.table_kind import TableKind, TableOption
from lvs_healthd.config.text import DEFAULT_FILE


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
    raise typer.Exit(serve(config, shadow=shadow, force=force, table=table, log_level=log_level))
