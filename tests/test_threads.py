"""Calls on threads: answered like any, and no reason to go on living."""

import asyncio
import subprocess
import sys
import threading

import pytest

from lvs_healthd.threads import Threads

HANGS = """
import asyncio, time
from lvs_healthd.threads import Threads

async def main():
    asyncio.get_running_loop().set_default_executor(Threads())
    try:
        async with asyncio.timeout(0.1):
            await asyncio.to_thread(time.sleep, 1000)
    except TimeoutError:
        print("gave up", flush=True)

asyncio.run(main())
"""


async def test_results_and_errors_come_back() -> None:
    asyncio.get_running_loop().set_default_executor(Threads())
    assert await asyncio.to_thread(divmod, 7, 2) == (3, 1)
    assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(divmod, 7, 0)


def test_a_call_that_hangs_does_not_hold_up_the_end() -> None:
    ran = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=True)
    assert (ran.stdout, ran.stderr) == ("gave up\n", "")
