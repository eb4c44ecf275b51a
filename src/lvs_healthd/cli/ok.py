"""`lvs-healthd ok`: says whether a service may serve on this director, as scripts and keepalived's track_script ask."""

import http
from typing import Annotated
from urllib.parse import urlencode

import typer

from lvs_healthd.cli.asking import ConfigOption, ControlOption, RefusedError, RunningDaemon, decoded, end, explained
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.cli.ok_quickly import TIMEOUT_S, line
from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.serving import ServingAnswer

ServiceArgument = Annotated[
    str, typer.Argument(help="The service: its name, address or firewall mark. All services if none is named.")
]


def ok(
    service: ServiceArgument = "",
    *,
    json: Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")] = False,
    config: ConfigOption = None,
    control: ControlOption = None,
) -> None:
    """Say whether a service may serve here: the daemon lives, and a server of it is in the kernel's table.

    Exit status: 0 it may, 1 it may not, 2 no such service, 4 no daemon was reached.
    """
    with explained("ok"):
        try:
            body = RunningDaemon("ok", config, control).get(
                f"/api/v1/ok?{urlencode({'service': service})}", timeout_s=TIMEOUT_S
            )
        except RefusedError as error:
            unknown = error.code == http.HTTPStatus.NOT_FOUND
            end("ok", printable(str(error)), ExitStatus.USAGE if unknown else ExitStatus.FAILED)
        answer = decoded(body, ServingAnswer)
    if json:
        typer.echo(body.decode())
    elif answer.services:
        typer.echo(line(_plain(answer)))
    else:
        typer.echo("no services are configured")
    if not answer.ok:
        raise typer.Exit(ExitStatus.FAILED)


def _plain(answer: ServingAnswer) -> dict[str, object]:
    services = [{"service": each.service, "ok": each.ok, "why": each.why} for each in answer.services]
    return {"ok": answer.ok, "services": services}
