"""Whether hardware virtualisation can be used for the guest. Found out by a trial: the device alone proves nothing."""

import functools
import os
import subprocess
import tempfile
from pathlib import Path

TRIAL_S = 10.0
"""For the kernel's first lines. With a KVM that works they come within one second."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@functools.cache
def kvm_works(image: str) -> bool:
    """Whether the kernel `image` boots under KVM here.

    /dev/kvm may be there and yet QEMU aborts on an MSR, or the guest hangs before its first line; so boot once, without
    a root, as far as the panic for want of one. The answer is kept beside the kernel until the machine reboots.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    verdict = Path(image).parent / f"kvm-{_BOOT_ID.read_text(encoding='ascii').strip()}"
    try:
        return verdict.read_text(encoding="ascii") == "yes"
    except FileNotFoundError:
        works = _trial(image)
        verdict.write_text("yes" if works else "no", encoding="ascii")
        return works


def _trial(image: str) -> bool:
    machine = "-machine q35,accel=kvm -cpu max -smp 2 -m 512M -no-reboot -display none -net none -serial stdio"
    with tempfile.TemporaryFile() as console:
        try:
            subprocess.run(
                ["qemu-system-x86_64", *machine.split(), "-kernel", image, "-append", "console=ttyS0 panic=-1"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=TRIAL_S,
            )
        except (subprocess.TimeoutExpired, FileNotFoundError):
            return False
        console.seek(0)
        return b"Unable to mount root fs" in console.read()
