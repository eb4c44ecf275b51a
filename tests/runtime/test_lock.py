"""One writer per network namespace, and one daemon per state file."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lvs_healthd.runtime import lock as module
from lvs_healthd.runtime.exceptions import HostError
from lvs_healthd.runtime.lock import AlreadyRunningError, StateLock, TableLock, lock_state, lock_table
from lvs_healthd.runtime.netns import Netns


def test_second_holder_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with lock_table(folder=tmp_path):
        for _ in range(3):
            with pytest.raises(AlreadyRunningError, match=rf"another lvs-healthd \(pid {os.getpid()}\) already"):
                lock_table(folder=tmp_path)
    lock_table(folder=tmp_path).close()


def test_daemons_that_share_no_files_see_each_other(tmp_path: Path) -> None:
    """As in two containers on the host's network."""
    with (
        lock_table(folder=tmp_path / "one"),
        pytest.raises(AlreadyRunningError, match=rf"\(pid {os.getpid()}, user {os.getuid()}\) already"),
    ):
        lock_table(folder=tmp_path / "two")
    lock_table(folder=tmp_path / "two").close()


def test_a_stranger_who_takes_the_name_keeps_nobody_from_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_holder", lambda _: (4711, 65534))
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(module._NAME)
        stranger.listen()
        with lock_table(folder=tmp_path) as held:
            assert held.name is None
            with pytest.raises(AlreadyRunningError):  # the file still tells ours apart
                lock_table(folder=tmp_path)


def test_lock_is_free_again_after_its_holder_is_killed(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from lvs_healthd.runtime.lock import lock_table; "
        f"lock = lock_table(folder=Path({str(tmp_path)!r})); print('held', flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder, holder.stdin, holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunningError, match=f"pid {holder.pid}"):
            lock_table(folder=tmp_path)
        holder.kill()
        holder.wait()
    lock_table(folder=tmp_path).close()


async def test_a_daemon_s_lock_is_taken_once_and_given_back(tmp_path: Path) -> None:
    lock = TableLock(Netns(), folder=tmp_path)
    assert lock.take()
    assert not lock.take()
    lock.follow_netns()
    with pytest.raises(AlreadyRunningError):
        lock_table(folder=tmp_path)
    await asyncio.sleep(0)  # whoever asked for the pid is disconnected
    lock.release()
    lock.follow_netns()
    lock_table(folder=tmp_path).close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match=re.escape(f"{tmp_path}/file/ipvs-")):
        lock_table(folder=tmp_path / "file")


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".state.json.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostError, match="cannot be locked"):
        lock_state(tmp_path / "state.json")
    assert not (tmp_path / "elsewhere").exists()


def test_a_state_file_is_one_daemon_s(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    held = lock_state(state)
    with pytest.raises(AlreadyRunningError, match=rf"another lvs-healthd \(pid {os.getpid()}\) uses this state file"):
        lock_state(state)
    held.release()
    lock_state(state).release()


def test_a_state_lock_stays_where_it_is_when_it_cannot_move(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    lock = StateLock()
    lock.move(old)
    theirs = lock_state(new)
    with pytest.raises(AlreadyRunningError):
        lock.move(new)
    with pytest.raises(AlreadyRunningError):
        lock_state(old)
    theirs.release()
    lock.move(new)
    lock_state(old).release()
    lock.release()
