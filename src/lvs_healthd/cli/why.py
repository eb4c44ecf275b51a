"""`lvs-healthd why`: says why a real server is as it is, from its checks to the kernel, and what has happened."""

import http
from typing import Annotated
from urllib.parse import quote

import typer

from lvs_healthd.cli.asking import ConfigOption, ControlOption, RefusedError, RunningDaemon, decoded, end, explained
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.view.why_values import Why
from lvs_healthd.view.why_words import lines


def why(
    service: Annotated[str, typer.Argument(help='The service: its name, its address, or "fwmark N".')],
    server: Annotated[
        str, typer.Argument(help="The address of a real server or fallback server, with or without its port.")
    ],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")] = False,
    config: ConfigOption = None,
    control: ControlOption = None,
) -> None:
    """Say why a real server or a fallback server is as it is, from its checks to its line in the kernel.

    In this order: what its checks found lately, its verdict, what operators have ordered, whether it flaps, what keeps
    writes back, the plan, the line in the kernel, and what has happened to it. A line that is not as planned says what
    to do. Failures are remembered for longer than passes. The newest comes first. What a server answered to a probe
    that did not pass is shown without secrets.

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
