"""What kernel tests share: a network, and the marker `kernel`, which every test in this folder gets automatically."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.nginx import Nginx
from lab.topology import Topology

HERE = Path(__file__).parent

LONGEST = (
    "test_main_job.py",
    "test_own_faults.py",
    "test_traffic_failover.py",
    "test_systemd.py",
    "test_examples.py",
    "test_table.py",
    "test_synproxy.py",
    "test_import.py",
    "test_takeover.py",
)
"""Files of the longest tests come first: at the end, one guest would wait for the other to be through with one."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.kernel)
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    is_long = item.path.parent == HERE and item.path.name in LONGEST
    return LONGEST.index(item.path.name) if is_long else len(LONGEST)


@pytest.fixture(scope="module")
def nat() -> Iterator[Topology]:
    """The NAT topology with two real servers, shared by all tests of a file. Each test leaves the table as it was."""
    with Topology.nat(servers=2) as topology:
        yield topology


@pytest.fixture(scope="module")
def web(nat: Topology) -> Iterator[tuple[Nginx, ...]]:
    """nginx on each real server of `nat`, on port 80."""
    with Nginx.serving(nat.servers[0]) as first, Nginx.serving(nat.servers[1]) as second:
        yield (first, second)
