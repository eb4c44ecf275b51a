"""A browser on this machine reaches the director's page, through a guest's card or a virtual cable."""

import contextlib
import http
import http.client
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.boot import Guest
from lab.host import REPOSITORY
from lab.page import card_of_guest, free_port, listen
from lab.wait import wait_until

_DIRECTOR = "page-test"
_SERVING = f"""
import subprocess, sys
from lab.netns import Namespace
from lab.page import ADDRESS, PORT, connected
subprocess.run(["ip", "netns", "add", {_DIRECTOR!r}], check=True)
director = Namespace({_DIRECTOR!r})
with connected(director):
    web = [sys.executable, "-m", "http.server", "--directory", "/run", "--bind", ADDRESS, str(PORT)]
    serving = director.popen(web)
    {{wait}}
    serving.kill()
    serving.wait()
"""


def answers(endpoint: str) -> bool:
    with contextlib.closing(http.client.HTTPConnection(endpoint, timeout=2)) as connection:
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces")
def test_without_a_guest_a_cable_leads_to_the_director() -> None:
    code = _SERVING.format(wait="sys.stdin.read()")
    command = [sys.executable, "-c", code]
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
            wait_until(lambda: answers(listen()) or process.poll() is not None, timeout_s=30, what="an answer")
            assert process.poll() is None
            process.communicate(b"")
        assert process.returncode == 0
        assert not Path("/sys/class/net/page").exists()
    finally:
        subprocess.run(["ip", "netns", "delete", _DIRECTOR], check=True)


@pytest.mark.boots
@pytest.mark.long
def test_qemu_leads_a_port_of_this_machine_to_the_director_in_the_guest(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", _SERVING.format(wait="serving.wait(60)")]
    with Guest(command, folder=tmp_path, cwd=REPOSITORY, deadline_s=120, card=card_of_guest(port)) as guest:
        wait_until(lambda: answers(f"127.0.0.1:{port}") or not guest.running, timeout_s=120, what=guest.last_words)
        assert guest.running, guest.last_words()
