"""Reads and writes the file of orders on threads, because its file system may hang."""

from collections.abc import Iterable
from pathlib import Path

from lvs_healthd.runtime.threads import HungError, in_thread
from lvs_healthd.state.overrides import Override, read_overrides, write_overrides

WRITE_S = 5.0
"""How long writing the file may take, seconds. An operator waits for it."""

READ_S = 20.0
"""How long reading the file may take, seconds: as long as reading the configuration."""


class OrdersFile:
    """Writes one thing at a time, and knows whether the file may hold something else than what counts."""

    def __init__(self) -> None:
        self.is_doubtful = False
        """Whether something may be in the file that was refused, because writing it has taken too long."""
        self.is_busy = False
        """Whether a thread is writing, perhaps for longer than anybody has waited."""

    async def read(self, file: Path) -> tuple[Override, ...]:
        """Read the file. Raises `StateFileError` if it is no file of orders, and `HungError` if that takes too long."""
        return await in_thread(read_overrides, file, timeout_s=READ_S, what=f"reading {file}")

    async def write(self, file: Path, orders: Iterable[Override]) -> None:
        """Replace the file. Raises `StateFileError`, and `HungError` if that takes too long."""
        if self.is_busy:
            raise HungError(f"writing {file} has not ended: a file system hangs, or the machine is overloaded")
        self.is_busy = True
        try:
            await in_thread(self._write, file, list(orders), timeout_s=WRITE_S, what=f"writing {file}")
        except HungError:
            self.is_doubtful = True
            raise
        self.is_doubtful = False

    def _write(self, file: Path, orders: list[Override]) -> None:
        try:
            write_overrides(file, orders)
        finally:
            self.is_busy = False
