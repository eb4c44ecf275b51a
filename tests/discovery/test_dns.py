"""What the records of a name say about servers, from a real name server in every state that one can have."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvs_healthd.config.basics import Endpoint, Family
from lvs_healthd.config.sources import Entry, Source
from lvs_healthd.discovery import lookup
from lvs_healthd.discovery.dns import GONE_S, LONGEST_S, MOST_AT_ONCE, DnsReader
from lvs_healthd.discovery.listing import ListError
from lvs_healthd.discovery.lookup import Addresses, Lookup, Target, Targets
from tests.discovery.name_server import BROKEN, NameServer, serves

A_S = 5.0
"""The least time between two look-ups of these tests, seconds."""


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    with serves(tmp_path_factory.mktemp("knot")) as server:
        yield server


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Asking:
    """A reader of a source, asked by a test as the daemon asks it."""

    def __init__(self, source: Source) -> None:
        self.clock = Time()
        self.reader = DnsReader(source, clock=self.clock)

    async def now(self) -> list[str] | None:
        """Return the servers that a look-up finds; None for the same as before, or if none is due."""
        assert await self.reader.look() is None  # which begins it, if it is due
        asked = self.reader._asked
        if asked is None:
            return None
        await asyncio.wait([asked])
        found = await self.reader.look()
        return None if found is None else shown(found)

    async def after(self, wait_s: float) -> list[str] | None:
        self.clock.now += wait_s
        return await self.now()

    async def wrong_after(self, wait_s: float) -> str:
        with pytest.raises(ListError) as caught:
            await self.after(wait_s)
        return str(caught.value)


def shown(entries: tuple[Entry, ...]) -> list[str]:
    return [each.address if each.weight == 1 else f"{each.address} weight={each.weight}" for each in entries]


def of(named: NameServer, name: str = "web.example.net", family: Family = Family.IPV4, port: int = 0) -> Source:
    return Source(dns=name, family=family, port=port, nameserver=(Endpoint("127.0.0.1", named.port),))


async def test_addresses_come_and_go_in_an_order_of_their_own(named: NameServer) -> None:
    named.says(*(f"web 5 A 192.0.2.{number}" for number in (10, 9, 11)), "web AAAA 2001:db8::1")
    web, other = Asking(of(named)), Asking(of(named, family=Family.IPV6, port=8080))
    assert await web.now() == ["192.0.2.9", "192.0.2.10", "192.0.2.11"]
    assert await other.now() == ["[2001:db8::1]:8080"]
    assert await web.after(A_S) is None, "the same"
    named.says("web 5 A 192.0.2.9")
    assert await web.after(A_S) == ["192.0.2.9"]
    assert shown(await DnsReader(of(named)).first()) == ["192.0.2.9"]


async def test_it_is_asked_again_when_the_records_are_old_but_never_too_soon_or_too_late(named: NameServer) -> None:
    named.says("none 0 A 192.0.2.1", "some 20 A 192.0.2.1", "long 86400 A 192.0.2.1")
    for name, wait_s in (("none", A_S), ("some", 20.0), ("long", LONGEST_S)):
        asking = Asking(of(named, f"{name}.example.net"))
        assert await asking.now() == ["192.0.2.1"]
        before, asking.clock.now = asking.clock.now, asking.clock.now + wait_s - 0.01
        assert await asking.reader.look() is None
        assert asking.reader._asked is None, f"{name}: asked too soon"
        asking.clock.now = before + wait_s
        await asking.reader.look()
        assert asking.reader._asked is not None, f"{name}: not asked in time"


async def test_an_alias_is_followed(named: NameServer) -> None:
    named.says("web 60 CNAME pool", "pool 60 A 192.0.2.1")
    assert await Asking(of(named)).now() == ["192.0.2.1"]


async def test_three_hundred_records_come_over_tcp(named: NameServer) -> None:
    named.says(*(f"web 5 A 192.0.{2 + number // 200}.{number % 200 + 1}" for number in range(300)))
    found = await Asking(of(named)).now()
    assert found is not None
    assert (len(found), found[0], found[-1]) == (300, "192.0.2.1", "192.0.3.100")


async def test_records_of_services_give_port_and_weight_and_the_best_priority_counts(named: NameServer) -> None:
    named.says(
        "_http._tcp.web 5 SRV 10 3 8080 a",
        "_http._tcp.web 5 SRV 10 0 8081 b",
        "_http._tcp.web 5 SRV 10 4 8080 alias",
        "_http._tcp.web 5 SRV 20 9 8080 spare",
        "a 5 A 192.0.2.1",
        "a 5 A 192.0.2.2",
        "b 5 A 192.0.2.3",
        "alias 5 CNAME a",
    )
    asking = Asking(of(named, "_http._tcp.web.example.net"))
    assert await asking.now() == ["192.0.2.1:8080 weight=7", "192.0.2.2:8080 weight=7", "192.0.2.3:8081"]
    named.says("_http._tcp.web 5 SRV 0 0 0 .")
    assert await asking.after(A_S) == [], "there is decidedly no such service"
    named.says("_http._tcp.web 5 SRV 0 1 0 a", "a 5 A 192.0.2.1")
    assert "a.example.net: expected a port of 1..65535, got 0" in await asking.wrong_after(A_S)


async def test_name_that_is_gone_counts_as_a_list_of_nobody_only_if_that_lasts(named: NameServer) -> None:
    named.says("web 5 A 192.0.2.1")
    asking = Asking(of(named))
    assert await asking.now() == ["192.0.2.1"]
    named.says()
    error = await asking.wrong_after(A_S)
    assert error == (
        f"web.example.net A: there is no such name (NXDOMAIN); try: dig @127.0.0.1 -p {named.port} web.example.net A"
    )
    named.says('web 5 TXT "no address"')
    assert "the name has no such record" in await asking.wrong_after(GONE_S - 1)
    assert await asking.after(A_S) == [], "it lasts"
    named.says("web 5 A 192.0.2.1")
    assert await asking.after(A_S) == ["192.0.2.1"]
    named.says()
    assert "NXDOMAIN" in await asking.wrong_after(GONE_S), "the time begins again"


async def test_host_of_a_record_that_is_gone_is_left_out_only_if_that_lasts(named: NameServer) -> None:
    named.says("_http._tcp.web 5 SRV 1 1 80 a", "_http._tcp.web 5 SRV 1 1 80 b", "a 5 A 192.0.2.1")
    asking = Asking(of(named, "_http._tcp.web.example.net"))
    assert (await asking.wrong_after(0)).startswith("b.example.net A: there is no such name")
    assert await asking.after(GONE_S) == ["192.0.2.1:80"]


@pytest.mark.parametrize("lie", ["0.0.0.0", "224.0.0.1", "255.255.255.255"])
async def test_one_address_that_cannot_be_a_server_makes_the_answer_wrong_as_a_whole(
    named: NameServer, lie: str
) -> None:
    named.says("web 5 A 192.0.2.1", f"web 5 A {lie}")
    asking = Asking(of(named))
    error = await asking.wrong_after(0)
    assert error.startswith("dns web.example.net A from ")
    assert f'got "{lie}"; it must be the address of one host' in error
    named.says("web 5 A 192.0.2.1")
    assert await asking.after(A_S) == ["192.0.2.1"]


async def test_error_of_the_name_server_says_nothing_about_servers_however_long(named: NameServer) -> None:
    asking = Asking(of(named, f"web.{BROKEN}"))
    for _ in range(2):
        error = await asking.wrong_after(2 * GONE_S)
        assert error == (
            f"web.{BROKEN} A: 127.0.0.1 port {named.port} answers SERVFAIL; "
            f"try: dig @127.0.0.1 -p {named.port} web.{BROKEN} A"
        )


async def test_silent_name_server_holds_nobody_up_and_the_next_one_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "TRY_S", 0.1)
    monkeypatch.setattr(lookup, "QUESTION_S", 0.5)
    with serves(tmp_path, "web 5 A 192.0.2.1") as named:
        asking = Asking(of(named))
        assert await asking.now() == ["192.0.2.1"]
        named.server.freeze()
        error = await asking.wrong_after(GONE_S)
        assert f"127.0.0.1 port {named.port} does not answer; try: dig " in error
        with serves(tmp_path / "other", "web 5 A 192.0.2.2") as other:
            both = Source(
                dns="web.example.net",
                family=Family.IPV4,
                nameserver=(Endpoint("127.0.0.1", named.port), Endpoint("127.0.0.1", other.port)),
            )
            assert await Asking(both).now() == ["192.0.2.2"]
    error = await asking.wrong_after(A_S)
    assert f"127.0.0.1 port {named.port} does not answer; try: dig " in error


class Stuck(Lookup):
    """A look-up that waits until it is let go."""

    def __init__(self, let_go: threading.Event) -> None:
        self._let_go = let_go

    def addresses(self, name: str, family: Family) -> Addresses:
        self._let_go.wait(30)
        return Addresses(("192.0.2.1",), 5.0)

    def targets(self, name: str) -> Targets:
        return Targets((Target(0, 0, 1, "a"),), 5.0)


async def test_only_so_many_look_ups_keep_a_thread() -> None:
    let_go = threading.Event()
    readers = [
        DnsReader(Source(dns=f"web{number}.example.net"), lambda _: Stuck(let_go)) for number in range(MOST_AT_ONCE + 2)
    ]
    for reader in readers:
        assert await reader.look() is None
    asked = [reader._asked for reader in readers if reader._asked is not None]
    assert len(asked) == MOST_AT_ONCE
    let_go.set()
    await asyncio.wait(asked)
    for reader in readers[MOST_AT_ONCE:]:
        await reader.look()
        assert reader._asked is not None
        await asyncio.wait([reader._asked])
        assert await reader.look() is not None


def test_without_any_name_server_it_says_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dns.resolver.Resolver.read_resolv_conf", lambda *_: (_ for _ in ()).throw(OSError()))
    with pytest.raises(ListError, match=r'names no name server; write one in the source: nameserver = "192\.0\.2\.53"'):
        Lookup(Source(dns="web.example.net"))
