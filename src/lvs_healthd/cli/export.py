"""`lvs-healthd export`: writes the running daemon's IPVS table in the format of `ipvsadm -R`."""

from pathlib import Path
from typing import Annotated

import typer

from lvs_healthd.cli.asking import ControlError, find_socket, get
from lvs_healthd.cli.status import DEFAULT_FILE, EXIT_UNREACHABLE


def export(
    *,
    actual: Annotated[
        bool, typer.Option("--actual", help="The kernel's table as last read, including foreign services.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="Configuration file that names the control socket.", show_default=str(DEFAULT_FILE)),
    ] = None,
    control: Annotated[str | None, typer.Option(help="The control socket; overrides the configuration's.")] = None,
) -> None:
    """Write the table that the daemon wants, in the format of ipvsadm -R.

    It includes the thresholds, which ipvsadm -S leaves out. Exit status: 1 the daemon cannot be reached.
    """
    path, remark = (control, "") if control else find_socket(config or DEFAULT_FILE, explicit=config is not None)
    if remark:
        typer.echo(f"lvs-healthd export: {remark}", err=True)
    try:
        text = get(path, f"/api/v1/ipvsadm/{'actual' if actual else 'wanted'}")
    except ControlError as error:
        typer.echo(f"lvs-healthd export: {error}", err=True)
        raise typer.Exit(EXIT_UNREACHABLE) from None
    typer.echo(text.decode(), nl=False)
