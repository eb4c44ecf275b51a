"""Finds out by a trial whether the guest can use hardware virtualisation. That the device exists proves nothing."""

import functools
import os
import subprocess
import tempfile
from pathlib import Path

TRIAL_S = 10.0
"""How long the trial may take, seconds. With a KVM that works, the kernel panics within one second."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@functools.cache
def kvm_works(image: str) -> bool:
    """Return whether the kernel `image` boots under KVM here.

    Even if /dev/kvm exists, QEMU may abort on an MSR, or the guest may hang before its first line. So the kernel is
    booted once without a root file system. KVM works if the kernel gets as far as its panic about the missing root. The
    answer is kept beside the kernel until the machine reboots.
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
