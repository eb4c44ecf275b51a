"""`lvs-healthd import`: makes a configuration from that of another program, or from a saved IPVS table."""

import enum
from collections.abc import Callable
from typing import Annotated

import typer

from lvs_healthd.cli.asking import end, say
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.config.load import ConfigError, parse
from lvs_healthd.importers import configuration, ldirectord
from lvs_healthd.importers.account import RefusedError
from lvs_healthd.importers.draft import Imported
from lvs_healthd.importers.ipvsadm import CommandError, table_of
from lvs_healthd.importers.keepalived import reading as keepalived
from lvs_healthd.importers.mon import carrying as mon
from lvs_healthd.importers.source import Source, UnreadableError, source


class Format(enum.StrEnum):
    """The formats that can be imported."""

    IPVSADM = "ipvsadm"
    MON = "mon"
    LDIRECTORD = "ldirectord"
    KEEPALIVED = "keepalived"


def _ipvsadm(given: Source) -> Imported:
    return configuration.imported(table_of(given.text.splitlines(), given.name), f"{given.name} ({Format.IPVSADM})")


_FORMATS = "ipvsadm: what `ipvsadm -Sn` writes; mon: mon.cf; ldirectord: ldirectord.cf; keepalived: keepalived.conf."

_IMPORTERS: dict[Format, Callable[[Source], Imported]] = {
    Format.IPVSADM: _ipvsadm,
    Format.MON: mon.imported,
    Format.LDIRECTORD: ldirectord.imported,
    Format.KEEPALIVED: keepalived.imported,
}


def import_(
    form: Annotated[Format, typer.Argument(metavar="FORMAT", help=_FORMATS)],
    file: Annotated[str, typer.Argument(help="The file; - for standard input.")],
    table: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="A saved IPVS table (`ipvsadm -Sn`) with what FILE does not hold; - for standard input.",
        ),
    ] = "",
    *,
    lossy: Annotated[bool, typer.Option("--lossy", help="Exit with 0 although something is not carried over.")] = False,
) -> None:
    """Print a configuration that does the same as FILE. What is not carried over goes to standard error, line by line.

    Exit status: 1 the file cannot be read, is not in this format, its program refuses it, or something in it cannot be
    carried over.
    """
    try:
        found = _IMPORTERS[form](source(file, table))
    except UnreadableError as error:
        end("import", str(error))
    except (CommandError, RefusedError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitStatus.FAILED) from None
    typer.echo(found.text, nl=False)
    for remark in found.remarks:
        say("import", remark)
    try:
        parse(found.text, "printed")
    except ConfigError as error:
        end("import", f"what is printed cannot be used as it is:\n{error}")
    if not (found.is_lossless or lossy):
        end("import", "not all is carried over; see above, and use --lossy to accept that")
