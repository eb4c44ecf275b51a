"""A real terminal: tmux, whose screen can be read."""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 20.0
"""Far more than a screen takes to show what it should."""


class Terminal:
    """A terminal in which a program runs, of 80 columns and 24 lines unless it is another size.

    folder: where its socket may be.
    """

    def __init__(self, folder: Path, *, width: int = 80, height: int = 24) -> None:
        self.folder = folder
        self._size = ("-x", str(width), "-y", str(height))
        self._socket = str(folder / "tmux")

    def start(self, command: str, **environment: str) -> None:
        bare = {
            name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "LINES", "COLUMNS", "TMUX")
        }
        self._tmux(
            *("-u", "-f", "/dev/null", "new-session", "-d", *self._size, command),
            env={**bare, "LC_ALL": "C.UTF-8", "TZ": "UTC", **environment},
        )

    def keys(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def typed(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def says(self, what: str) -> str:
        return self._tmux("display-message", "-p", f"#{{{what}}}").strip()

    def text(self, *options: str) -> str:
        return self._tmux("capture-pane", "-p", *options)

    def end(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):  # its program has ended, and so has it
            self._tmux("kill-server")

    async def until(self, condition: Callable[[], bool]) -> None:
        limit = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < limit, self.text()
            await asyncio.sleep(0.05)

    async def shows(self, text: str) -> None:
        await self.until(lambda: text in self.text())

    def _tmux(self, *words: str, env: dict[str, str] | None = None) -> str:
        ran = subprocess.run(
            ["tmux", "-S", self._socket, *words], check=True, capture_output=True, text=True, encoding="utf-8", env=env
        )
        return ran.stdout
