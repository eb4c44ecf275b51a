"""`lvs-healthd export`: writes the running daemon's IPVS table in the format of `ipvsadm -R`."""

from typing import Annotated

import typer

from lvs_healthd.cli.asking import AllOption, ConfigOption, ControlOption, RunningDaemon, explained


def export(
    *,
    actual: Annotated[
        bool, typer.Option("--actual", help="The kernel's table as last read, including foreign services.")
    ] = False,
    everything: AllOption = False,
    config: ConfigOption = None,
    control: ControlOption = None,
) -> None:
    """Write the table that the daemon wants, in the format of ipvsadm -R.

    It includes the thresholds, which ipvsadm -S leaves out. Exit status: 1 refused, 4 no daemon was reached.
    """
    with explained("export"):
        which = ("actual" if actual else "wanted") + ("?all" if everything else "")
        text = RunningDaemon("export", config, control).get(f"/api/v1/ipvsadm/{which}")
    typer.echo(text.decode(), nl=False)
