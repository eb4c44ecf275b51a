"""Calls on threads: answered like any, and no reason to go on living."""

import asyncio
import subprocess
import sys
import threading

import pytest

from lvs_healthd.threads import MOST, Threads

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


async def test_idle_threads_are_used_again_and_calls_beyond_the_most_wait() -> None:
    threads = Threads()
    asyncio.get_running_loop().set_default_executor(threads)
    names = set()
    for _ in range(20):
        names.add(await asyncio.to_thread(lambda: threading.current_thread().name))
        # It has answered, and becomes idle a moment later.
        assert threads._idle.acquire(timeout=30)
        threads._idle.release()
    assert len(names) == 1
    go_on = threading.Event()
    waiting = [threads.submit(go_on.wait, 60) for _ in range(MOST + 5)]
    assert threading.active_count() <= MOST + 5
    assert not waiting[-1].running()
    go_on.set()
    assert all(await asyncio.gather(*map(asyncio.wrap_future, waiting)))


def test_without_a_new_thread_the_old_ones_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = Threads()
    go_on = threading.Event()
    first = threads.submit(go_on.wait, 60)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        second = threads.submit(int, "7")
        with pytest.raises(RuntimeError):
            Threads().submit(int, "7")
    go_on.set()
    assert first.result(60)
    assert second.result(60) == 7


def test_a_call_that_hangs_does_not_hold_up_the_end() -> None:
    ran = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=True)
    assert (ran.stdout, ran.stderr) == ("gave up\n", "")
