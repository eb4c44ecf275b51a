"""Keys of etcd that list servers."""

from collections.abc import Mapping

import pytest

from lvs_healthd.config.sources import Entry, Source
from lvs_healthd.discovery.etcd import EtcdReader, StoredLists
from lvs_healthd.discovery.listing import ListError


def lists(values: Mapping[str, bytes] | None, asked: Mapping[str, bytes] | None = None) -> StoredLists:
    async def ask() -> Mapping[str, bytes]:
        if asked is None:
            raise ListError("it is away")
        return asked

    found = StoredLists(ask)
    found.prefix, found.values = "/lb/", values
    return found


def reader(known: StoredLists) -> EtcdReader:
    return EtcdReader(Source(etcd="web"), known)


async def test_list_and_keys_of_servers_are_read_together() -> None:
    known = lists(
        {
            "web": b"198.51.100.11\n198.51.100.12:8080 weight=2\n",
            "web/198.51.100.13:80": b"",
            "web/[2001:db8::1]:80": b"weight=3\n",
            "webmail": b"198.51.100.99",
            "other/198.51.100.98:80": b"",
        }
    )
    assert await reader(known).first() == (
        Entry("198.51.100.11", 1, "etcd /lb/servers/web:1"),
        Entry("198.51.100.12:8080", 2, "etcd /lb/servers/web:2"),
        Entry("198.51.100.13:80", 1, "etcd /lb/servers/web/198.51.100.13:80:1"),
        Entry("[2001:db8::1]:80", 3, "etcd /lb/servers/web/[2001:db8::1]:80:1"),
    )


async def test_only_changes_are_told() -> None:
    known = lists({"web": b'["198.51.100.11"]'})
    asked = reader(known)
    assert await asked.look() == (Entry("198.51.100.11", 1, "etcd /lb/servers/web:1"),)
    assert await asked.look() is None
    known.values = {"web": b'["198.51.100.11"]', "mail": b"x"}
    assert await asked.look() is None
    known.values = {}
    assert await asked.look() == ()


async def test_nothing_is_told_before_anything_is_known() -> None:
    assert await reader(lists(None)).look() is None
    with pytest.raises(ListError, match="it is away"):
        await reader(lists(None)).first()
    assert await reader(lists(None, {"web": b"198.51.100.11"})).first() == (
        Entry("198.51.100.11", 1, "etcd /lb/servers/web:1"),
    )


async def test_etcd_that_is_away_is_told_and_read_again_when_it_is_back() -> None:
    known = lists({"web": b"198.51.100.11"})
    asked = reader(known)
    await asked.look()
    known.error = "no connection"
    for _ in range(2):
        with pytest.raises(ListError, match="no connection"):
            await asked.look()
    known.error = ""
    assert await asked.look() is not None


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"web": b"web1.example.net"}, "etcd /lb/servers/web:1: expected an address and port"),
        ({"web/198.51.100.300": b""}, "etcd /lb/servers/web/198.51.100.300:1: expected an address and port"),
        (
            {"web/198.51.100.1": b"wieght=2"},
            "etcd /lb/servers/web/198.51.100.1:1: expected an address, and perhaps weight",
        ),
        ({"web/198.51.100.1": b"\xff"}, "etcd /lb/servers/web/198.51.100.1:1: not text in UTF-8"),
        (
            {"web": b"198.51.100.1", "web/198.51.100.1": b""},
            "etcd /lb/servers/web/198.51.100.1:1: 198.51.100.1 is already listed by etcd /lb/servers/web:1",
        ),
    ],
    ids=["list", "key", "word", "bytes", "twice"],
)
async def test_mistakes_name_the_key(values: dict[str, bytes], error: str) -> None:
    asked = reader(lists(values))
    with pytest.raises(ListError) as caught:
        await asked.look()
    assert str(caught.value).startswith(error)
    assert await asked.look() is None
