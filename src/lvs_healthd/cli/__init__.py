"""The command line: `lvs-healthd VERB`. Each verb lives in a file of its own and is imported only when it is called.

A verb is the function of its file's name (`import_` for import), annotated for typer. It says expected errors in words
on standard error and exits with a status of its own; what reaches the operator as a traceback is a bug.
"""

import importlib
import keyword
import sys
from typing import Annotated

from lvs_healthd import __version__

VERBS = {
    "run": "Probe the real servers and keep the IPVS table true.",
    "validate": "Say everything that is wrong with a configuration file.",
    "status": "Ask the running daemon how every real server stands.",
    "table": "Show the kernel's IPVS table, and where it is not as wanted.",
    "probe": "Run every check once and show what it found.",
    "export": "Write the daemon's IPVS table as ipvsadm -R reads it.",
    "import": "Make a configuration of a saved IPVS table.",
    "flush": "Take what is ours out of the kernel's IPVS table.",
}
"""What there is, for `--help`."""


def main() -> None:
    """Run the verb on the command line."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        # Before typer, whose import takes ten times as long as all of this.
        _print_version()
        return
    _run(arguments)


def _run(arguments: list[str]) -> None:
    import typer  # noqa: PLC0415  # not for --version

    def options(
        *,
        version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    ) -> None:
        if version:
            _print_version()
            raise typer.Exit

    app = typer.Typer(
        name="lvs-healthd",
        help="Health checks for Linux Virtual Server: probes real servers and keeps the kernel's IPVS table true.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        callback=options,
    )
    # Global options take no values, so the first word is the verb; only that one's imports are paid for.
    called = next((argument for argument in arguments if not argument.startswith("-")), "")
    for verb, summary in VERBS.items():
        if verb == called:
            name = f"{verb}_" if keyword.iskeyword(verb) else verb
            app.command(verb)(getattr(importlib.import_module(f"lvs_healthd.cli.{name}"), name))
        else:
            app.command(verb, help=summary)(_not_called)
    app(arguments)


def _not_called() -> None:
    """Stand in for a verb in the list of `--help`."""
    raise AssertionError("a verb was run without being imported")


def _print_version() -> None:
    print(f"lvs-healthd {__version__}")
