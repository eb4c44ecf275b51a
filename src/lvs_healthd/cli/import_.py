"""`lvs-healthd import`: makes a configuration from a saved IPVS table."""

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from lvs_healthd.cli.asking import ExitStatus, end, say
from lvs_healthd.config.load import ConfigError, parse
from lvs_healthd.importers.configuration import imported
from lvs_healthd.importers.ipvsadm import CommandError, table_of


class Format(enum.StrEnum):
    """The formats that can be imported."""

    IPVSADM = "ipvsadm"


def import_(
    form: Annotated[Format, typer.Argument(metavar="FORMAT", help="ipvsadm: what `ipvsadm -Sn` writes.")],
    file: Annotated[str, typer.Argument(help="The saved table; - for standard input.")],
) -> None:
    """Print a configuration that makes a saved table, with the simplest checks. Remarks go to standard error.

    Exit status: 1 the file cannot be read, is not a table in this format, or holds a table that the kernel accepts but
    a configuration cannot express.
    """
    source = "standard input" if file == "-" else file
    try:
        text = (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode()
        found = imported(table_of(text.splitlines(), source), f"{source} ({form})")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        end("import", f"{source}: {reason}")
    except CommandError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitStatus.FAILED) from None
    typer.echo(found.text, nl=False)
    for remark in found.remarks:
        say("import", remark)
    try:
        parse(found.text, "printed")
    except ConfigError as error:
        end("import", f"what is printed cannot be used as it is:\n{error}")
