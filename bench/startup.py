"""The floor of a start and of a reload: Python alone parses the same file."""

import subprocess
import time
from pathlib import Path

from bench.processes import MEASURED_CPU, PYTHON, ROOT

_PARSE = "import sys, tomli; tomli.loads(open(sys.argv[1], encoding='utf-8').read())"
_IMPORT = "import bench.daemon_on_recorded_kernel; "


def floor_s(file: Path, *, imports: bool) -> float:
    """Return how long Python takes to parse a configuration, seconds.

    imports: measure from exec, including the imports of the daemon's modules; else measure only the parsing.
    """
    if imports:
        return _run_s(_IMPORT + _PARSE, file)
    return _run_s(_PARSE, file) - _run_s("import sys, tomli", file)


def version_s() -> tuple[float, float]:
    """Return how long `lvs-healthd --version` takes, and how long a Python that does nothing takes, seconds."""
    return _run_s("from lvs_healthd.cli import main; main()", "--version"), _run_s("")


def _run_s(program: str, *arguments: str | Path) -> float:
    command = ["taskset", "-c", str(MEASURED_CPU), PYTHON, "-c", program, *arguments]
    began = time.monotonic()
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return time.monotonic() - began
