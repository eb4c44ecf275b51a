"""The command line: `lvs-healthd VERB`. Each verb lives in its own file and is imported only when it is called.

A verb is a function with the same name as its file (`import_` for import), annotated for typer. It explains expected
errors on standard error and exits with a status of its own. A traceback that reaches the operator is a bug.
"""

import importlib
import keyword
import signal
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

from lvs_healthd import __version__

if TYPE_CHECKING:
    import typer

VERBS = {
    "run": "Probe the real servers and keep the IPVS table true.",
    "validate": "List everything that is wrong with a configuration file.",
    "reload": "Put the changed configuration into force and show what changed.",
    "status": "Ask the running daemon for the health of every real server.",
    "why": "Say why a real server is up or down, and since when.",
    "drain": "Send real servers no new connections; they leave when empty.",
    "disable": "Take real servers out of the kernel's table at once.",
    "enable": "End drain and disable.",
    "weight": "Give real servers another weight, or the configured one again.",
    "ok": "Say whether a service may serve here, for scripts.",
    "table": "Show the kernel's IPVS table beside the wanted one.",
    "checks": "List ready-made checks, explain one, or try one on a server.",
    "probe": "Run every check once and show what it found.",
    "doctor": "Find out what is wrong with this director, and what to type.",
    "hold": "Write nothing to the table or to one service for now.",
    "release": "End a hold: write what is wanted.",
    "export": "Write the daemon's IPVS table in the format of ipvsadm -R.",
    "import": "Make a configuration from a saved IPVS table.",
    "fleet": "Put services into the etcd that directors share, or get them.",
    "flush": "Remove what is ours from the kernel's IPVS table.",
    "reference": "Write manual pages, completion and the file's schema.",
}
"""Every verb with its summary for `--help`."""


def main() -> None:
    """Run the verb on the command line."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        # This needs no typer, whose import takes ten times as long as everything else in this run.
        _print_version()
        return
    if arguments[:1] == ["ok"]:
        from lvs_healthd.cli.ok_quickly import quickly  # noqa: PLC0415  # not needed for other verbs

        status = quickly(arguments[1:])
        if status is not None:
            sys.exit(status)
    if arguments[:1] == ["complete"]:
        from lvs_healthd.cli.complete_quickly import complete  # noqa: PLC0415  # not needed for other verbs

        complete(arguments[1:])
        return
    if arguments[:1] == ["run"]:
        # By default, SIGHUP would end a daemon that is still importing. The signal asks for a reload. There is nothing
        # to reload yet, because the configuration has not been read.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # Ctrl-C then ends it as it ends other programs, without a traceback from the middle of an import.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        from lvs_healthd.cli import run_quickly  # noqa: PLC0415  # not needed for other verbs

        status = run_quickly.quickly(arguments[1:])
        if status is not None:
            sys.exit(status)
    # Global options take no values, so the first word that is not an option is the verb.
    app(next((argument for argument in arguments if not argument.startswith("-")), ""))(arguments)


def app(called: str) -> "typer.Typer":
    """Return the command line, of which only the verb that is called is imported."""
    import typer  # noqa: PLC0415  # not needed for --version

    def options(
        *,
        version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    ) -> None:
        if version:
            _print_version()
            raise typer.Exit

    found = typer.Typer(
        name="lvs-healthd",
        help="Health checks for Linux Virtual Server: probes real servers and keeps the kernel's IPVS table true.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        callback=options,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for verb, summary in VERBS.items():
        if verb == called:
            module = _module(verb)
            found.command(verb, cls=getattr(module, "Command", None))(verb_function(verb))
        else:
            found.command(verb, help=summary)(_not_called)
    return found


def verb_function(verb: str) -> Callable[..., None]:
    """Import a verb, and return its function."""
    found: Callable[..., None] = getattr(_module(verb), _name(verb))
    return found


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"lvs_healthd.cli.{_name(verb)}")


def _name(verb: str) -> str:
    return f"{verb}_" if keyword.iskeyword(verb) else verb


def _not_called() -> None:
    """Stand in for a verb that `--help` lists but this run does not call."""
    raise AssertionError("a verb was run without being imported")


def _print_version() -> None:
    print(f"lvs-healthd {__version__}")
