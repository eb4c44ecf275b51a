"""What the kernel says of processes, such as one that has ended and that nobody has asked about."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lvs_healthd.runtime.processes import Process, process

PROC = Path("/proc")


def test_this_process() -> None:
    found = process(PROC / str(os.getpid()))
    assert found.parent == os.getppid()
    assert not found.has_ended


def test_process_that_has_ended_does_nothing_any_more() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        while not process(PROC / str(child.pid)).has_ended:
            time.sleep(0.01)
    finally:
        child.wait()
    with pytest.raises(OSError, match=str(child.pid)):
        process(PROC / str(child.pid))


def test_name_may_contain_anything(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("7 (a) Z (b) S 5 7 7 0")
    assert process(tmp_path) == Process("a) Z (b", 5, has_ended=False)
