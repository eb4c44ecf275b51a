"""Calls on threads return their results, and never keep the process alive."""

import asyncio
import queue
import subprocess
import sys
import threading
from concurrent.futures import Future

import pytest

from lvs_healthd.runtime.threads import MOST, HungError, LoneCall, Threads, in_thread

HANGS = """
import asyncio, time
from lvs_healthd.runtime.threads import Threads

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
    present = threading.active_count()  # threads that other tests have left behind stay, idle
    threads = Threads()
    asyncio.get_running_loop().set_default_executor(threads)
    names = {await asyncio.to_thread(lambda: threading.current_thread().name) for _ in range(20)}
    assert len(names) == 1
    go_on = threading.Event()
    waiting = [threads.submit(go_on.wait, 60) for _ in range(MOST + 5)]
    assert threading.active_count() <= present + MOST
    assert not waiting[-1].running()
    go_on.set()
    assert all(await asyncio.gather(*map(asyncio.wrap_future, waiting)))


async def test_lone_call_is_not_made_while_an_earlier_one_hangs() -> None:
    asyncio.get_running_loop().set_default_executor(Threads())
    lone = LoneCall()
    assert await lone(divmod, 7, 2, timeout_s=60.0, what="dividing") == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await lone(divmod, 7, 0, timeout_s=60.0, what="dividing")
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go_on.wait(60)
        ended.set()

    with pytest.raises(HungError) as first:
        await lone(hang, timeout_s=0.5, what="reading /x")
    assert begun.wait(60)
    with pytest.raises(HungError) as second:
        await lone(pytest.fail, "a second call", timeout_s=0.5, what="reading /x")
    assert str(second.value) == str(first.value)
    go_on.set()
    assert ended.wait(60)
    while True:
        try:
            assert await lone(divmod, 7, 2, timeout_s=60.0, what="dividing") == (3, 1)
            break
        except HungError:  # the thread has not quite come back
            await asyncio.sleep(0.001)


def test_a_thread_is_free_before_its_result_is_told() -> None:
    threads = Threads()
    go_on = threading.Event()
    again: queue.SimpleQueue[Future[int]] = queue.SimpleQueue()
    first = threads.submit(lambda: go_on.wait(60) and threading.get_ident())
    first.add_done_callback(lambda _: again.put(threads.submit(threading.get_ident)))
    go_on.set()
    assert again.get(timeout=60).result(60) == first.result(60)


def test_a_call_that_nobody_waits_for_any_more_gives_its_thread_back() -> None:
    threads = Threads()
    go_on = threading.Event()
    running = [threads.submit(go_on.wait, 60) for _ in range(MOST)]
    given_up = threads.submit(int, "7")
    assert given_up.cancel()
    go_on.set()
    assert all(each.result(60) for each in running)
    assert threads.submit(int, "8").result(60) == 8


def test_a_call_that_was_refused_is_not_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = Threads()
    calls: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            threads.submit(calls.append, "refused")
    threads.submit(calls.append, "made").result(60)
    assert calls == ["made"]


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


async def test_a_call_that_hangs_is_given_up_and_said_what_for() -> None:
    asyncio.get_running_loop().set_default_executor(Threads())
    go_on = threading.Event()
    with pytest.raises(HungError, match=r"reading x has taken more than 0\.01s: a file system hangs"):
        await in_thread(go_on.wait, 20, timeout_s=0.01, what="reading x")
    go_on.set()
    assert await in_thread(len, "four", timeout_s=5, what="counting") == 4
