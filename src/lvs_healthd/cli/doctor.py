"""`lvs-healthd doctor`: finds out what is wrong with this director, and says what to type. It changes nothing."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from lvs_healthd.cli.asking import (
    ControlError,
    ControlOption,
    NoSocketError,
    RunningDaemon,
    UnreachableError,
    decoded,
    end,
    say,
)
from lvs_healthd.cli.draw_doctor import lines, remarks
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.cli.loading import loaded
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import DEFAULT_FILE
from lvs_healthd.config.model import Config
from lvs_healthd.doctor.bundle import BundleError, parts, write_bundle
from lvs_healthd.doctor.comparing import compare, services_named
from lvs_healthd.doctor.finding import Finding, Note
from lvs_healthd.doctor.judging import judge, merged, notes
from lvs_healthd.doctor.observations import Observations
from lvs_healthd.doctor.observe import Asked, observe
from lvs_healthd.doctor.peers import DIRECTOR, HERE, STATUS, Told, WrongUrlError, ask_peers, url_of
from lvs_healthd.ipvs.refusals import NO_PERMISSION
from lvs_healthd.view.director_values import DirectorValues
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.status_values import Status


class _Answer(msgspec.Struct, frozen=True):
    """What --json prints."""

    findings: list[Finding]
    notes: list[Note]
    services: int
    """How many services were looked at."""
    servers: int
    has_daemon: bool
    """Whether a daemon was asked."""
    kernel: str
    """The versions of IPVS and of the kernel."""


def doctor(
    service: Annotated[
        str, typer.Argument(help='Only this service: its name, its address, or "fwmark N".', show_default="all")
    ] = "",
    *,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Also write what a bug report needs to this new tar.gz file, without secrets."),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Compare with this other director, which answers at its [daemon] listen: a host, host:port or "
            "http://host:port. May be given several times.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="The configuration file.", show_default=str(DEFAULT_FILE))] = None,
    control: ControlOption = None,
) -> None:
    """Find out what is wrong with this director, and say what to type. Nothing is changed.

    It looks at the configuration, the kernel's table and its counters, routes, neighbours, sysctls and nftables rules,
    and asks on the wire who has the services' addresses. That takes some seconds, for at most half a minute. If a
    daemon runs, it is asked for its status. Each finding says how sure it is: certain, likely or possible.

    With --peer, it also says what differs between this director and others that should be like it: versions, clocks,
    sysctls, sync daemons, services and their servers, verdicts and the kernel's weights.

    Exit status: 0 all is well (and in a pipe nothing is printed), 1 refused or failed, 2 wrong usage or no such
    service, 3 trouble found, 4 no daemon was reached at --control.
    """
    if bundle is not None and (bundle.exists() or bundle.is_symlink()):
        end("doctor", f"{bundle}: it exists, and is not overwritten")
    peers = _urls(peer or ())
    configured, errors = _configuration(config)
    status, body, daemon_error = _status(config, control)
    own = _own(config, control, status) if peers else None
    with _progress() as progress:
        try:
            seen = observe(Asked(configured, errors, status, daemon_error, service), progress)
        except UnknownNameError as error:
            end("doctor", str(error), ExitStatus.USAGE)
        if own is not None:
            progress("asking other directors")
        told = [] if own is None else ask_peers(peers)
    if NO_PERMISSION in seen.table_error:
        end("doctor", seen.table_error)
    found, remarked = judge(seen), notes(seen)
    if own is not None:
        differing, meant = compare(own, told, services_named(each.name for each in seen.services) if service else _any)
        found, remarked = merged([*found, *differing]), [*remarked, *meant]
    if bundle is not None:
        _write(bundle, parts(config or DEFAULT_FILE, configured, body, seen, (found, remarked)))
    _show(_Answer(found, remarked, len(seen.services), _servers(seen), status is not None, seen.kernel), json=json)
    if found:
        raise typer.Exit(ExitStatus.TROUBLE)


def _configuration(config: Path | None) -> tuple[Config | None, tuple[str, ...]]:
    """Return the configuration, or None and its errors. Without any file there is neither."""
    try:
        return loaded("doctor", config or DEFAULT_FILE), ()
    except ConfigError as error:
        is_absent = isinstance(error.__cause__, FileNotFoundError)
        if is_absent and config is not None:
            end("doctor", str(error))
        if is_absent:
            say("doctor", f"{DEFAULT_FILE}: there is none; looking at the kernel's table only")
            return None, ()
        return None, error.errors


def _status(config: Path | None, control: str | None) -> tuple[Status | None, bytes, str]:
    """Ask the running daemon. Return its status, its answer as it came, and why a daemon that runs does not answer."""
    try:
        body = RunningDaemon("doctor", config, control).get(STATUS)
        return decoded(body, Status), body, ""
    except UnreachableError as error:
        if control is not None:
            end("doctor", str(error), error.status)
        say("doctor", "no daemon is asked: looking at the configuration and the kernel's table")
        is_stuck = isinstance(error.__cause__, TimeoutError)
        if not is_stuck and not isinstance(error, NoSocketError):
            say("doctor", str(error))
        return None, b"", str(error) if is_stuck else ""
    except ControlError as error:
        say("doctor", f"the daemon is not asked: {error}")
        return None, b"", ""


def _urls(words: Iterable[str]) -> list[str]:
    try:
        return [url_of(each) for each in words]
    except WrongUrlError as error:
        end("doctor", f"--peer {error}", ExitStatus.USAGE)


def _own(config: Path | None, control: str | None, status: Status | None) -> Told | None:
    """Return what the daemon here says of itself; None, after saying so, if that is not known."""
    if status is None:
        say("doctor", "other directors are not asked: no daemon runs here to compare them with")
        return None
    try:
        director = decoded(RunningDaemon("doctor", config, control).get(DIRECTOR), DirectorValues)
    except ControlError as error:
        say("doctor", f"other directors are not asked: the daemon here does not say what it is set to: {error}")
        return None
    return Told(name=HERE, status=status, director=director)


def _any(_: str) -> bool:
    return True


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is looked at."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("starting") as shown:
        yield lambda text: shown.update(f"{text} …")


def _write(path: Path, texts: dict[str, str]) -> None:
    try:
        write_bundle(path, texts)
    except BundleError as error:
        end("doctor", str(error))
    say("doctor", f"{path}: written, without secrets; look through it before you send it")


def _show(answer: _Answer, *, json: bool) -> None:
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode())
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in lines(answer.findings):
        console.print(line)
    if console.is_terminal:
        for line in remarks(answer.notes):
            console.print(line)
        if not answer.findings:
            looked_at = f"{_count(answer.services, 'service')}, {_count(answer.servers, 'server')}"
            console.print(f"no trouble found: {looked_at} ({answer.kernel})")


def _servers(seen: Observations) -> int:
    return sum(len(each.servers) for each in seen.services)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
