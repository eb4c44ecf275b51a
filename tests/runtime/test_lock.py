"""One writer per network namespace."""

import asyncio
import os
import subprocess
import sys

import pytest

from lvs_healthd.runtime.lock import AlreadyRunningError, TableLock, answer_lock, lock_table
from lvs_healthd.runtime.netns import Netns


def test_second_holder_is_refused_with_the_pid_of_the_first() -> None:
    with lock_table() as lock:
        for _ in range(3):
            with pytest.raises(
                AlreadyRunningError, match=rf"another lvs-healthd \(pid {os.getpid()}, user {os.getuid()}\) already"
            ):
                lock_table()
            answer_lock(lock)


def test_lock_is_free_again_after_its_holder_is_killed() -> None:
    code = "from lvs_healthd.runtime.lock import lock_table; lock = lock_table(); print('held', flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder, holder.stdin, holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunningError, match=f"pid {holder.pid}"):
            lock_table()
        holder.kill()
        holder.wait()
    lock_table().close()


async def test_a_daemon_s_lock_is_taken_once_and_given_back() -> None:
    lock = TableLock(Netns())
    assert lock.take()
    assert not lock.take()
    lock.follow_netns()
    with pytest.raises(AlreadyRunningError):
        lock_table()
    await asyncio.sleep(0)  # whoever asked for the pid is disconnected
    lock.release()
    lock.follow_netns()
    lock_table().close()
