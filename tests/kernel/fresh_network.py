"""A network for one test file, with an IPVS table that is empty at the start of each test.

Tests import both fixtures and ask for `director`. The thread of such a test is inside the network.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

from lab.ipvsadm import Ipvsadm
from lab.netns import Namespace


@contextlib.contextmanager
def fresh_network() -> Iterator[Namespace]:
    """Make an empty network for the length of the block."""
    namespace = Namespace(f"ipvs-test-{os.getpid()}")
    subprocess.run(["ip", "netns", "add", namespace.name], check=True)
    try:
        # Without any IPv4 address the kernel has no local routing table, and accepts no address for a server.
        namespace.run(["ip", "link", "set", "lo", "up"])
        yield namespace
    finally:
        subprocess.run(["ip", "netns", "delete", namespace.name], check=True)


@pytest.fixture(scope="module")
def network() -> Iterator[Namespace]:
    with fresh_network() as namespace:
        yield namespace


@pytest.fixture
def director(network: Namespace) -> Iterator[Ipvsadm]:
    ipvsadm = Ipvsadm(network)
    with network.entered():
        yield ipvsadm
        ipvsadm.clear()
