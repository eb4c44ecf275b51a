"""The lab's commands, for the Makefile: `python -m lab setup | demo [PORT] | shell [PORT]`.

With a PORT of this machine's loopback, a browser sees the daemon's status page there; 1 is any free port. Without a
guest, any PORT means an address of the lab, which is printed.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import page
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
        case ["demo" | "shell" as command, *port] if len(port) <= 1 and all(map(str.isdecimal, port)):
            return {"demo": demo, "shell": shell}[command](*map(int, port))
        case _:
            sys.stderr.write(f"{__doc__}\n")
            return 2


def demo(port: int = 0) -> int:
    """Run the demo, here or in a guest, and show its output while it runs. Return the exit status.

    port: the page is offered at this port of this machine's loopback; 0 for nowhere, 1 for a free one.
    """
    command = [sys.executable, "-m", "lab.demo", *(["--colour"] if sys.stdout.isatty() else [])]
    offered, card = _offered(port)
    command += offered
    if not needs_guest():
        return subprocess.run(command, check=False, cwd=REPOSITORY).returncode
    why = f"KERNEL={KERNEL}" if KERNEL else "This machine has no IPVS of its own (or we are not root)"
    print(f"{why}: booting Debian's kernel in a small VM.", flush=True)
    with tempfile.TemporaryDirectory(prefix="lab-") as name:
        folder = Path(name)
        with Guest(command, folder=folder, cwd=REPOSITORY, deadline_s=DEMO_DEADLINE_S, card=card) as guest:
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


def shell(port: int = 0) -> int:
    """Open a prompt in the lab, here or in a guest. Return the exit status. `port`: see `demo`."""
    offered, card = _offered(port)
    command = [sys.executable, "-m", "lab.shell", *offered]
    if not needs_guest():
        return subprocess.run(command, check=False, cwd=REPOSITORY).returncode
    with tempfile.TemporaryDirectory(prefix="lab-") as name:
        # virtme-ng takes the name of a shell, not a command with arguments.
        script = write_command(Path(name), command, deadline_s=0)
        vng = vng_command(Path(name), REPOSITORY, f"--shell={script}", card=card)
        return subprocess.run(vng, check=False, env=vng_environment()).returncode


def _offered(port: int) -> tuple[list[str], str]:
    """Return the words that tell the command where a browser finds the page, and those that tell QEMU."""
    if not port:
        return [], ""
    if not needs_guest():
        return [f"--page=http://{page.listen()}/page/"], ""
    port = page.free_port() if port == 1 else port
    return [f"--page=http://127.0.0.1:{port}/page/"], page.card_of_guest(port)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GuestError as error:
        sys.exit(f"lab: {error}")
