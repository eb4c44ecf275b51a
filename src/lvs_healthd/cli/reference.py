"""`lvs-healthd reference`: writes manual pages, completion for shells, the configuration's JSON schema, and Markdown.

All of them are made from the code: from the verbs' signatures and docstrings, and from the keys and records of the
configuration.
"""

import enum
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from lvs_healthd.cli.asking import end
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.cli.manual import markdown, shells
from lvs_healthd.cli.manual.command_line import verbs
from lvs_healthd.cli.manual.pages import pages
from lvs_healthd.config.json_schema import json_schema


class Part(enum.StrEnum):
    """What can be printed."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    SCHEMA = "schema"
    VERBS = "verbs"
    KEYS = "keys"


def reference(
    part: Annotated[
        Part | None,
        typer.Argument(
            metavar="PART",
            help="bash, zsh, fish: completion; schema: the JSON schema of the configuration; verbs, keys: Markdown.",
        ),
    ] = None,
    *,
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write everything below this folder, as a package does below /usr/share.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print one part, or write completion, the schema and the manual pages into a folder.

    An editor finds the schema by a line of the configuration: `#:schema /usr/share/lvs-healthd/config.schema.json`.

    Exit status: 1 cannot be written, 2 wrong usage.
    """
    if (part is None) is (into is None):
        end("reference", "usage: lvs-healthd reference PART, or lvs-healthd reference --into FOLDER", ExitStatus.USAGE)
    if part is not None:
        typer.echo(_printed(part), nl=False)
    if into is not None:
        try:
            _write(into.expanduser(), files())
        except OSError as error:
            end("reference", f"{error.filename}: cannot be written: {error.strerror}")


def files() -> Mapping[str, str]:
    """Return the text of every file, by its path below a folder such as /usr/share."""
    return {
        "bash-completion/completions/lvs-healthd": _printed(Part.BASH),
        "zsh/vendor-completions/_lvs-healthd": _printed(Part.ZSH),
        "fish/vendor_completions.d/lvs-healthd.fish": _printed(Part.FISH),
        "lvs-healthd/config.schema.json": _printed(Part.SCHEMA),
        **{f"man/man{name.rpartition('.')[2]}/{name}": text for name, text in pages().items()},
    }


def _printed(part: Part) -> str:
    match part:
        case Part.BASH:
            return shells.bash(verbs())
        case Part.ZSH:
            return shells.zsh(verbs())
        case Part.FISH:
            return shells.fish(verbs())
        case Part.SCHEMA:
            return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"
        case Part.VERBS:
            return markdown.verbs_page()
        case Part.KEYS:
            return markdown.keys_page()


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    typer.echo(f"{len(texts)} files written into {folder}")
