"""Screens as they must be, in files. `WRITE_SCREENS=1 pytest tests/cli/watch` writes them; look at the difference."""

import os
from pathlib import Path

FOLDER = Path(__file__).with_name("screens")
IS_WRITTEN = bool(os.environ.get("WRITE_SCREENS"))


def expected(name: str, found: str) -> str:
    """Return the text of a screen's file. If the files are to be written, it becomes what was found."""
    path = FOLDER / f"{name}.txt"
    if IS_WRITTEN:
        path.write_text(found, encoding="utf-8")
    return path.read_text(encoding="utf-8")
