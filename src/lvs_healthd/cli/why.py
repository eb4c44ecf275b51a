"""`lvs-healthd why`: says why a real server is up or down, and what its checks found before."""

import http
from typing import Annotated
from urllib.parse import quote

import typer

from lvs_healthd.cli.asking import (
    ConfigOption,
    ControlOption,
    ExitStatus,
    RefusedError,
    RunningDaemon,
    decoded,
    end,
    explained,
)
from lvs_healthd.cli.draw_why import lines
from lvs_healthd.view.why_values import Why


def why(
    service: Annotated[str, typer.Argument(help='The service: its name, its address, or "fwmark N".')],
    server: Annotated[str, typer.Argument(help="The real server's address, with or without its port.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")] = False,
    config: ConfigOption = None,
    control: ControlOption = None,
) -> None:
    """Say why a real server is up or down: its verdict, its weight, and what its checks found lately.

    Failures are remembered for longer than passes. The newest comes first. What a server answered to a probe that did
    not pass is shown without secrets.

    Exit status: 0 answered, 1 refused, 2 wrong usage or no such server, 4 no daemon was reached.
    """
    path = f"/api/v1/why?service={quote(service, safe='')}&server={quote(server, safe='')}"
    with explained("why"):
        try:
            body = RunningDaemon("why", config, control).get(path)
        except RefusedError as error:
            if error.code == http.HTTPStatus.NOT_FOUND and error.why:
                end("why", error.why, ExitStatus.USAGE)
            raise
        answer = decoded(body, Why)
    typer.echo(body.decode() if json else "\n".join(lines(answer)))
