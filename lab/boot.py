"""The guest: Debian's kernel in a small VM, on the machine's own files, for hosts without IPVS.

virtme-ng boots it. The guest sees the host's root file system, read-only, with temporary overlays for the folders to
which programs write. Python and its code come as disk images. The host and the guest share one writable folder. The
command's output and its exit status come back through files in that folder, because the console is slow, and loses both
if the guest has no virtio-serial.
"""

import os
import platform
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from lab.host import KERNEL, REPOSITORY
from lab.image import ImageError, images
from lab.kvm import kvm_works

LAB = REPOSITORY / "lab"
FOLDER_VARIABLE = "LVS_HEALTHD_LAB_FOLDER"
"""Environment variable that tells the command in the guest where the shared folder is."""

SHARED_IN_GUEST = "/run/lab/shared"
QUEUE_VARIABLE = "LVS_HEALTHD_LAB_QUEUE"
"""Environment variable that tells the command where the folder is that several guests share."""

QUEUE_IN_GUEST = "/run/lab/queue"

MEMORY = "1G"
CPUS = 1
"""One emulated processor is faster than several: the kernel then needs no locks, and reads the clock without QEMU."""

KERNEL_OPTIONS = ("mitigations=off",)
"""There are no secrets in the guest, and the mitigations that would protect them are slow to emulate."""

EMULATED_CPU = "max,-la57,-smap,-smep,-umip,-pku,-xsave,-pclmulqdq"
"""The emulated processor. It lacks features that slow down every memory access or system call. It also lacks AVX, which
programs use because it is fast on real processors, but which is slow to emulate. PCLMULQDQ is left out with it, because
Linux 7.2 then takes a routine that needs AVX, and does not boot."""


class GuestError(Exception):
    """Raised when the guest cannot be started. The message says what is missing."""


class Guest:
    """A VM that runs one command and powers off. Use it as a context manager: the VM ends with the block at the latest.

    command: the command, which runs as root.
    folder: the folder on the host that is shared with the guest. `FOLDER_VARIABLE` tells the command its path.
    cwd: the command's working directory.
    deadline_s: the guest ends the command after so many seconds, whatever happens on the host.
    queue: a folder that several guests share; None for no such folder. `QUEUE_VARIABLE` tells the command its path.
    card: words for QEMU that give the guest a network card. Without them it has none.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        cwd: Path,
        deadline_s: float,
        queue: Path | None = None,
        card: str = "",
    ) -> None:
        self._command = command
        self._folder = folder
        self._queue = queue
        self._cwd = cwd
        self._card = card
        self._deadline_s = deadline_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        write_command(self._folder, self._command, deadline_s=self._deadline_s)
        queue = [f"--rwdir={QUEUE_IN_GUEST}={self._queue}"] if self._queue else []
        wanted = [*queue, "--verbose", "--", f"{SHARED_IN_GUEST}/command"]
        vng = vng_command(self._folder, self._cwd, *wanted, card=self._card)
        # The output goes through a pipe, because QEMU opens /proc/self/fd/2 again, and would truncate a file. cat reads
        # the pipe, because somebody must empty it even while this process is busy.
        with (self._folder / "console").open("wb") as console:
            self._process = subprocess.Popen(
                ["bash", "-o", "pipefail", "-c", '"$@" 2>&1 | cat', "guest", *vng],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=vng_environment(),
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End the VM at once, if it still runs."""
        if self._process is None:
            return
        if self._process.poll() is None:
            # Kill the whole session, because QEMU is a grandchild of virtme-ng.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def running(self) -> bool:
        """Whether the VM is still there."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """The command's exit status; None when it has not ended, or when the guest died before it ended."""
        try:
            return int((self._folder / "status").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None

    @property
    def output_file(self) -> Path:
        """Where the command's output arrives while it runs."""
        return self._folder / "output"

    def last_words(self, lines: int = 60) -> str:
        """Return the end of the command's output and of the guest's console, for a message about its death."""
        parts = []
        for name in ("output", "console"):
            try:
                text = (self._folder / name).read_text(encoding="utf-8", errors="replace")
            except FileNotFoundError:
                text = ""
            # The serial console ends its lines with carriage returns.
            end = [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
            parts.append(f"--- the guest's {name}, last {len(end)} lines ---\n" + "\n".join(end))
        return "\n".join(parts)


def write_command(folder: Path, command: Sequence[str], *, deadline_s: float) -> Path:
    """Write a program into `folder` that prepares the guest and runs `command`. Return the program's path.

    The files that the program needs are written too. With a `deadline_s` of 0, the command keeps the terminal and has
    no time limit.

    virtme-ng puts the command that it runs onto the kernel's command line, and a kernel with more than 2047 characters
    there panics before the first line of the console. So virtme-ng gets a short name, and the command itself is in a
    file. Raises `GuestError`.
    """
    try:
        mounts = [f"{image.file}\t{image.folder}\n" for image in images(folder)]
    except (ImageError, OSError) as error:
        raise GuestError(f"{error}; `make setup` installs what the lab needs") from error
    (folder / "images").write_text("".join(mounts), encoding="utf-8")
    program = folder / "command"
    line = shlex.join([str(LAB / "guest"), str(REPOSITORY), sys.executable, str(round(deadline_s)), *command])
    program.write_text(f"#!/bin/bash\nexec {line}\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def vng_command(folder: Path, cwd: Path, *arguments: str, card: str = "") -> list[str]:
    """Return the whole command line of virtme-ng, ending with `arguments`.

    card: words for QEMU that give the guest a network card.

    Raises `GuestError` when something is missing.
    """
    vng = Path(sys.executable).with_name("vng")
    if not vng.exists():
        raise GuestError(f"{vng} is missing: run `make setup`")
    return [
        str(vng),
        "--run",
        kernel_image(),
        *(() if kvm_works(kernel_image()) else ("--disable-kvm", f"--qemu-opts=-cpu {EMULATED_CPU}")),
        *((f"--qemu-opts={card}",) if card else ()),
        *(f"--append={option}" for option in KERNEL_OPTIONS),
        "--force-9p",
        f"--cpus={CPUS}",
        f"--memory={MEMORY}",
        "--user=root",
        f"--rwdir={SHARED_IN_GUEST}={folder}",
        "--rodir=/run/lab/host=/",
        f"--cwd={cwd}",
        *arguments,
    ]


def vng_environment() -> dict[str, str]:
    """Return the environment for virtme-ng. Its PATH must lead to the other programs of virtme-ng and to /usr/sbin."""
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return {**os.environ, "PATH": path}


def kernel_image() -> str:
    """Return the path of the lab's kernel, from this machine's Debian release or from `KERNEL`. Fetch it if necessary.

    Raises `GuestError` when the kernel cannot be fetched, and on a machine that is not x86-64.
    """
    if platform.machine() != "x86_64":
        raise GuestError(f"the lab's guest needs an x86-64 machine, not {platform.machine()}")
    fetch = [str(LAB / "fetch-kernel"), *([KERNEL] if KERNEL else [])]
    fetched = subprocess.run(fetch, check=False, capture_output=True, text=True)
    if fetched.returncode != 0:
        raise GuestError(f"cannot fetch the lab's kernel: {fetched.stderr.strip()}")
    return fetched.stdout.strip()
