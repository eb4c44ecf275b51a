"""An etcd for the tests of this folder, with names of keys of their own."""

from collections.abc import Iterator

import pytest

from tests.etcd import Etcd, etcd


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """Return an etcd that the tests of a file share, and do no harm to."""
    with etcd(tmp_path_factory.mktemp("etcd")) as found:
        yield found


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """Return an etcd for one test, which may end it."""
    with etcd(tmp_path_factory.mktemp("etcd")) as found:
        yield found
