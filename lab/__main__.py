"""The lab's commands, for the Makefile: `python -m lab setup | demo | shell`."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab.boot import Guest, GuestError, kernel_image, vng_command, vng_environment, write_command
from lab.host import KERNEL, REPOSITORY, needs_guest

DEMO_DEADLINE_S = 900.0
"""How long the demo may take, seconds. It takes two to three minutes in an emulated guest."""


def main() -> int:
    """Run the command on the command line, and return the exit status."""
    match sys.argv[1:]:
        case ["setup"]:
            if needs_guest():
                kernel_image()
            return 0
        case ["demo"]:
            return demo()
        case ["shell"]:
            return shell()
        case _:
            sys.stderr.write(f"{__doc__}\n")
            return 2


def demo() -> int:
    """Run the demo, here or in a guest, and show its output while it runs. Return the exit status."""
    command = [sys.executable, "-m", "lab.demo", *(["--colour"] if sys.stdout.isatty() else [])]
    if not needs_guest():
        return subprocess.run(command, check=False, cwd=REPOSITORY).returncode
    why = f"KERNEL={KERNEL}" if KERNEL else "This machine has no IPVS of its own (or we are not root)"
    print(f"{why}: booting Debian's kernel in a small VM.", flush=True)
    with tempfile.TemporaryDirectory(prefix="lab-") as name:
        folder = Path(name)
        with Guest(command, folder=folder, cwd=REPOSITORY, deadline_s=DEMO_DEADLINE_S) as guest:
            shown = 0
            while guest.running:
                shown = show(guest.output_file, shown)
                time.sleep(0.2)
            show(guest.output_file, shown)
        if guest.status is None:
            print(f"The guest died before the demo ended.\n{guest.last_words()}", file=sys.stderr)
            return 1
        return guest.status


def show(file: Path, position: int) -> int:
    """Print the content of `file` from `position` on, and return the position of its end."""
    if not file.exists():
        return position
    with file.open("rb") as output:
        output.seek(position)
        text = output.read()
    sys.stdout.buffer.write(text)
    sys.stdout.flush()
    return position + len(text)


def shell() -> int:
    """Open a prompt in the lab, here or in a guest. Return the exit status."""
    command = [sys.executable, "-m", "lab.shell"]
    if not needs_guest():
        return subprocess.run(command, check=False, cwd=REPOSITORY).returncode
    with tempfile.TemporaryDirectory(prefix="lab-") as name:
        # virtme-ng takes the name of a shell, not a command with arguments.
        script = write_command(Path(name), command, deadline_s=0)
        vng = vng_command(Path(name), REPOSITORY, f"--shell={script}")
        return subprocess.run(vng, check=False, env=vng_environment()).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GuestError as error:
        sys.exit(f"lab: {error}")
