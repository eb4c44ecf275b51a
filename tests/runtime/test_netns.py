"""The parts of `Netns` that can be tested without a network namespace. The lab tests the rest."""

import subprocess
import sys
from pathlib import Path

import pytest

from lvs_healthd.runtime.netns import Netns, NetnsError


def test_own_one_needs_nothing() -> None:
    with Netns().entered():
        pass
    assert Netns().identity() == Path("/proc/self/ns/net").stat().st_ino


def test_missing_one_says_how_to_make_it() -> None:
    for attempt in (Netns("no-such").identity, lambda: Netns("no-such").entered().__enter__()):
        with pytest.raises(NetnsError, match=r"/run/netns/no-such: there is none; make it: ip netns add no-such"):
            attempt()


def test_file_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NetnsError, match=r"no network namespace|not permitted"), Netns(str(file)).entered():
        pass


def test_error_inside_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), Netns("/proc/self/ns/net").entered():
        raise ZeroDivisionError


STRANDED = """
import threading
from lvs_healthd.runtime import netns

calls = []

def setns(fileno):
    calls.append(fileno)
    if len(calls) == 2:
        raise PermissionError(1, "Operation not permitted")

netns._setns = setns

def work():
    try:
        with netns.Netns("/proc/self/ns/net").entered():
            print("inside", flush=True)
    except Exception as error:
        print("went on", error, flush=True)
    print("went on", flush=True)

thread = threading.Thread(target=work)
thread.start()
thread.join()
print("went on", flush=True)
"""


def test_thread_that_cannot_return_ends_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", STRANDED], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "inside\n")
    assert "cannot return to its own network namespace (Operation not permitted): the daemon ends" in ended.stderr
