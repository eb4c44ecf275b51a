"""How the processes of one run (pytest-xdist) divide the tests among themselves: whole files, kernel tests first.

One process speaks for all kernel tests. It only waits for the guests that run them, and takes files of the host's tests
when the guests are through.
"""

from typing import Final

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

KERNEL_FOLDER: Final = "kernel"
"""All kernel tests are in a folder of this name."""


class ByFile(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Gives whole files to the processes, and all kernel tests to the first one."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return KERNEL_FOLDER if KERNEL_FOLDER in file.split("/") else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        if KERNEL_FOLDER in self.workqueue:
            self.workqueue.move_to_end(KERNEL_FOLDER, last=False)
        super()._assign_work_unit(node)
