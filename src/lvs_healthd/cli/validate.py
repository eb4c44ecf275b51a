"""`lvs-healthd validate`: lists everything that is wrong with a configuration, or prints it with every default."""

from pathlib import Path
from typing import Annotated

import typer

from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.cli.loading import loaded
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.load import DEFAULT_FILE, ConfigError
from lvs_healthd.config.model import Config


def validate(
    file: Annotated[
        Path | None,
        typer.Argument(help="The configuration file.", readable=False, show_default=str(DEFAULT_FILE)),
    ] = None,
    *,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="The same as FILE, as other verbs take it.", readable=False)
    ] = None,
    effective: Annotated[
        bool, typer.Option("--effective", help="Print the whole configuration with every default filled in.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Treat remarks as errors.")] = False,
) -> None:
    """Check a configuration file. Errors and remarks go to standard error, all at once.

    A remark says what will happen and what to write instead. The daemon accepts a file that has only remarks. Exit
    status: 1 there are errors.
    """
    if file is not None and config_file is not None:
        raise typer.BadParameter("name the file once: as FILE or with --config", param_hint="--config")
    file = file or config_file or DEFAULT_FILE
    config: Config | None = None
    errors: tuple[str, ...] = ()
    try:
        config = loaded("validate", file)
        remarks = config.remarks
    except ConfigError as error:
        errors, remarks = error.errors, error.remarks
    if strict:
        errors, remarks = (*errors, *remarks), ()
    for line in (*errors, *(f"remark: {remark}" for remark in remarks)):
        typer.echo(line, err=True)
    if config is None or errors:
        raise typer.Exit(ExitStatus.FAILED)
    if effective:
        typer.echo(to_toml(config), nl=False)
    else:
        typer.echo(f"{file}: ok: {summary(config)}")


def summary(config: Config) -> str:
    """Return the counts of what a configuration holds: "2 services, 5 real servers, 5 checks"."""
    servers = [server for service in config.services for server in service.real_servers]
    checks = sum(len(server.checks) for service in config.services for server in service.servers)
    counts = [(len(config.services), "service"), (len(servers), "real server"), (checks, "check")]
    if config.remarks:
        counts.append((len(config.remarks), "remark"))
    return ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts)
