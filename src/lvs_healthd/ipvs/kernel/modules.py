"""Loads IPVS kernel modules, if this process has the permission. Usually the kernel has already loaded them itself."""

import asyncio
import re

from lvs_healthd.runtime.capabilities import CAP_SYS_MODULE, has_capability

_MODPROBE = "/sbin/modprobe"
_TIMEOUT_S = 10.0
"""How long modprobe may take. A module loads in milliseconds, so if it takes ten seconds, the disk is in trouble."""
_NAME = re.compile(r"ip_vs[a-z0-9_]*")


async def load_module(name: str) -> bool:
    """Load an IPVS module by name, and return whether that succeeded.

    Returns False when this process may not load modules, and when modprobe fails or takes longer than ten seconds.
    """
    if not _NAME.fullmatch(name) or not _may_load():
        return False
    try:
        process = await asyncio.create_subprocess_exec(
            _MODPROBE, "--quiet", name, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await process.wait() == 0
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _may_load() -> bool:
    """Return whether this process may load modules. If not, modprobe would only fail."""
    return has_capability(CAP_SYS_MODULE)
