"""A network of a test file's own, with an IPVS table that is empty at the start of each test.

Tests import both fixtures and ask for `director`; their thread is inside the network meanwhile.
"""

import os
import subprocess
from collections.abc import Iterator

import pytest

from lab.ipvsadm import Ipvsadm
from lab.netns import Namespace


@pytest.fixture(scope="module")
def network() -> Iterator[Namespace]:
    namespace = Namespace(f"ipvs-test-{os.getpid()}")
    subprocess.run(["ip", "netns", "add", namespace.name], check=True)
    try:
        # Without a single IPv4 address the kernel has no local routing table, and takes no address for a server's.
        namespace.run(["ip", "link", "set", "lo", "up"])
        yield namespace
    finally:
        subprocess.run(["ip", "netns", "delete", namespace.name], check=True)


@pytest.fixture
def director(network: Namespace) -> Iterator[Ipvsadm]:
    ipvsadm = Ipvsadm(network)
    with network.entered():
        yield ipvsadm
        ipvsadm.clear()
