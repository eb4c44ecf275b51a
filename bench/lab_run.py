"""Runs a module of the benchmark on a real IPVS: on this machine if it has IPVS, else in the lab's guest."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.outcome import MeasurementError
from lab.__main__ import show
from lab.boot import FOLDER_VARIABLE, Guest, GuestError
from lab.host import REPOSITORY, needs_guest

_BOOT_S = 60.0
_LAST_LINES = 6


def run_in_lab(module: str, *arguments: str, deadline_s: float) -> dict[str, Any]:
    """Run `python -m MODULE`, and return the JSON that it writes to result.json in the folder `FOLDER_VARIABLE` names.

    Its output in the guest is shown while it runs. Raises `MeasurementError`, with its last output, when it fails.
    """
    command = [sys.executable, "-m", module, *arguments]
    with tempfile.TemporaryDirectory(prefix="bench-lab-") as name:
        folder = Path(name)
        run = _in_guest if needs_guest() else _here
        last_words = run(command, folder, deadline_s)
        result = folder / "result.json"
        if not result.exists():
            raise MeasurementError(f"{module} left no result:\n{last_words}")
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return found


def _here(command: Sequence[str], folder: Path, deadline_s: float) -> str:
    # A new network namespace has its own IPVS table.
    inside = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "bench", *command]
    environment = {**os.environ, FOLDER_VARIABLE: str(folder)}
    ran = subprocess.run(
        inside, check=False, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=deadline_s
    )
    return ran.stdout[-2000:] + ran.stderr[-2000:]


def _in_guest(command: Sequence[str], folder: Path, deadline_s: float) -> str:
    try:
        with Guest(command, folder=folder, cwd=REPOSITORY, deadline_s=deadline_s) as guest:
            deadline = time.monotonic() + deadline_s + _BOOT_S
            shown = 0
            while guest.running and time.monotonic() < deadline:
                shown = show(guest.output_file, shown)
                time.sleep(0.2)
            show(guest.output_file, shown)
            return guest.last_words(_LAST_LINES)
    except GuestError as error:
        raise MeasurementError(str(error)) from error
