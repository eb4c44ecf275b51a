"""Addresses on a real interface: what should be there is, and what others have put there stays."""

import json
from collections.abc import Callable, Iterator, Mapping

import pytest

from lab.netns import Namespace
from lvs_healthd.director import announced, announcer, links
from lvs_healthd.director.announced import Place
from lvs_healthd.director.announcer import Announcer, Done
from lvs_healthd.events.kinds import AnnounceError, AnnounceForeign, AnnounceRecovered, Event
from lvs_healthd.runtime.netns import Netns
from tests.namespaces import dummy, namespace

VIP, VIP6 = Place("lvs0", "192.0.2.100"), Place("lvs0", "2001:db8::100")
OTHER = Place("lvs0", "192.0.2.101")


class Site:
    def __init__(self, at: Namespace) -> None:
        self.at = at
        self.events: list[Event] = []
        self.announcer = Announcer(Netns(at.name), self.events.append)

    async def turn(self, wanted: Mapping[Place, bool | None], *, writes: bool = True) -> Done | None:
        return await self.announcer.turn(wanted, wanted.keys(), writes=writes, is_old=lambda: False)

    def ip(self, words: str) -> None:
        self.at.run(["ip", *words.split()])

    def addresses(self, interface: str = "lvs0") -> dict[str, dict[str, object]]:
        """Return the addresses of an interface, with what `ip` says of each, without those of the link."""
        (found,) = json.loads(self.at.run(["ip", "-j", "address", "show", "dev", interface]).stdout)
        listed = [each for each in found["addr_info"] if each["scope"] == "global"]
        return {f"{each['local']}/{each['prefixlen']}": each for each in listed}

    def told(self, kind: type[Event]) -> list[Event]:
        return [each for each in self.events if isinstance(each, kind)]


@pytest.fixture
def site() -> Iterator[Site]:
    with namespace() as at:
        dummy(at, "lvs0")
        yield Site(at)


async def test_wanted_addresses_are_put_there_and_unwanted_ones_taken_off(site: Site) -> None:
    done = await site.turn({VIP: True, VIP6: True, OTHER: False})
    assert done == Done(frozenset({VIP, VIP6}), frozenset({VIP, VIP6}), frozenset())
    found = site.addresses()
    assert found.keys() == {"192.0.2.100/32", "2001:db8::100/128"}
    assert (found["2001:db8::100/128"]["deprecated"], found["2001:db8::100/128"]["nodad"]) == (True, True)
    assert "deprecated" not in found["192.0.2.100/32"]
    done = await site.turn({VIP: False, VIP6: None, OTHER: True})
    assert done == Done(frozenset({VIP6, OTHER}), frozenset({OTHER}), frozenset({VIP}))
    assert site.addresses().keys() == {"192.0.2.101/32", "2001:db8::100/128"}
    assert site.events == []


async def test_what_is_right_is_not_written(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.turn({VIP: True, OTHER: False})

    def write(*_: object) -> None:
        raise AssertionError("nothing is to be written")

    monkeypatch.setattr(announced, "write", write)
    assert await site.turn({VIP: True, OTHER: False}) == Done(frozenset({VIP}), frozenset(), frozenset())


async def test_address_of_somebody_else_is_left_alone_and_told_once(site: Site) -> None:
    site.ip("address add 192.0.2.7/32 dev lvs0")
    site.ip("address add 192.0.2.100/24 dev lvs0")  # ours, but with the whole network
    for _ in range(3):
        await site.turn({VIP: True})
    foreign = [AnnounceForeign(interface="lvs0", address=f"192.0.2.{each}") for each in ("100/24", "7/32")]
    assert site.events == foreign
    assert site.announcer.foreign == {("lvs0", "192.0.2.7/32"), ("lvs0", "192.0.2.100/24")}
    await site.turn({VIP: False})
    assert site.addresses().keys() == {"192.0.2.7/32", "192.0.2.100/24"}
    site.ip("address delete 192.0.2.7/32 dev lvs0")
    await site.turn({VIP: False})
    site.ip("address add 192.0.2.7/32 dev lvs0")
    await site.turn({VIP: False})
    assert site.events == [*foreign, foreign[1]], "it has come back"


async def test_address_that_is_not_configured_any_more_is_taken_off_if_it_is_ours(site: Site) -> None:
    site.ip("address add 192.0.2.101/32 dev lvs0")
    await site.turn({VIP: True})
    await site.turn({}, writes=False)
    assert site.addresses().keys() == {"192.0.2.100/32", "192.0.2.101/32"}, "in shadow mode nothing is written"
    await site.turn({})
    assert site.addresses().keys() == {"192.0.2.101/32"}
    assert site.announcer.ours == set()


async def test_address_moves_to_another_interface_without_being_nowhere(site: Site) -> None:
    dummy(site.at, "lvs1")
    await site.turn({VIP: True})
    with site.at.entered():
        reports = links.listener()
    await site.turn({Place("lvs1", VIP.address): True})
    assert site.addresses() == {}
    assert site.addresses("lvs1").keys() == {"192.0.2.100/32"}
    with reports:
        told = [reports.recv(links.RECEIVE_BYTES) for _ in range(2)]
    assert [each["event"] for data in told for each in links.parser().parse(data)] == ["RTM_NEWADDR", "RTM_DELADDR"]


MOVED = Place("lvs1", VIP.address)


async def test_address_whose_new_interface_is_missing_or_down_stays_until_it_is_there(site: Site) -> None:
    await site.turn({VIP: True})
    for _ in range(2):
        await site.turn({MOVED: True})
        assert site.addresses().keys() == {"192.0.2.100/32"}
    dummy(site.at, "lvs1")
    site.ip("link set lvs1 down")
    assert await site.turn({MOVED: True}) == Done(frozenset({VIP}), frozenset({MOVED}), frozenset())
    assert site.addresses().keys() == {"192.0.2.100/32"}, "BGP announces nothing from an interface that is down"
    site.ip("link set lvs1 up")
    assert await site.turn({MOVED: True}) == Done(frozenset({MOVED}), frozenset(), frozenset({VIP}))
    assert site.addresses() == {}
    assert site.announcer.ours == {MOVED}


async def test_address_whose_new_interface_refuses_it_stays(site: Site) -> None:
    dummy(site.at, "lvs1")
    site.at.run(["sysctl", "-qw", "net.ipv6.conf.lvs1.disable_ipv6=1"])
    moved = Place("lvs1", VIP6.address)
    await site.turn({VIP6: True})
    await site.turn({moved: True})
    assert site.addresses().keys() == {"2001:db8::100/128"}
    site.at.run(["sysctl", "-qw", "net.ipv6.conf.lvs1.disable_ipv6=0"])
    await site.turn({moved: True})
    assert site.addresses() == {}


async def test_address_that_moves_undecided_stays_until_that_is_decided(site: Site) -> None:
    dummy(site.at, "lvs1")
    await site.turn({VIP: True})
    await site.turn({MOVED: None})
    assert site.addresses().keys() == {"192.0.2.100/32"}
    await site.turn({MOVED: False})
    assert site.addresses() == {}
    assert site.addresses("lvs1") == {}


async def test_address_whose_services_go_to_shadow_mode_and_to_another_interface_stays(site: Site) -> None:
    dummy(site.at, "lvs1")
    await site.turn({VIP: True})
    site.ip("address add 192.0.2.100/32 dev lvs1")
    await site.announcer.turn({}, {MOVED}, writes=True, is_old=lambda: False)
    assert site.addresses().keys() == {"192.0.2.100/32"}
    assert site.announcer.ours == {VIP}


async def test_address_that_was_there_already_is_ours_because_it_is_configured(site: Site) -> None:
    site.ip("address add 192.0.2.100/32 dev lvs0")
    assert await site.turn({VIP: None}) == Done(frozenset({VIP}), frozenset(), frozenset())
    assert site.announcer.ours == {VIP}
    await site.turn({})
    assert site.addresses() == {}


async def test_missing_interface_is_told_once_with_what_to_type_until_it_is_there(site: Site) -> None:
    place = Place("lvs9", VIP.address)
    for _ in range(3):
        assert await site.turn({place: True}) == Done(frozenset(), frozenset(), frozenset())
    (told,) = site.events
    assert told == AnnounceError(interface="lvs9", error=announced.missing("lvs9"), retry_s=announcer.RETRY_S)
    assert announced.missing("lvs9").startswith(
        "there is no interface lvs9: ip link add lvs9 type dummy && ip link set lvs9 up"
    )
    dummy(site.at, "lvs9")
    await site.turn({place: True})
    assert site.addresses("lvs9").keys() == {"192.0.2.100/32"}
    assert site.events == [told, AnnounceRecovered(interface="lvs9")]


async def test_interface_that_is_down_is_an_error_because_nobody_announces_its_addresses(site: Site) -> None:
    site.ip("link set lvs0 down")
    await site.turn({VIP: True})
    (told,) = site.told(AnnounceError)
    assert told.error == "lvs0 is down, and BGP announces nothing from it: ip link set lvs0 up"  # type: ignore[attr-defined]
    assert site.addresses().keys() == {"192.0.2.100/32"}
    site.ip("link set lvs0 up")
    await site.turn({VIP: True})
    assert site.announcer.error_of(VIP) == ""


async def test_what_the_kernel_refuses_is_told_and_the_rest_is_done(site: Site) -> None:
    site.at.run(["sysctl", "-qw", "net.ipv6.conf.lvs0.disable_ipv6=1"])
    done = await site.turn({VIP: True, VIP6: True})
    assert done == Done(frozenset({VIP}), frozenset({VIP}), frozenset())
    refused = "2001:db8::100 cannot be put on lvs0: IPv6 is off there: sysctl net.ipv6.conf.lvs0.disable_ipv6=0"
    assert [site.announcer.error_of(each) for each in (VIP, VIP6)] == ["", refused], "nothing is wrong with the others"
    other = Place("lvs0", "2001:db8::101")
    await site.turn({VIP: True, VIP6: True, other: True})
    assert [each.error for each in site.told(AnnounceError)] == [refused, f"{refused} (and 1 more)"]  # type: ignore[attr-defined]
    site.ip("link set lvs0 down")
    await site.turn({VIP: True, VIP6: True})
    down = announced.is_down("lvs0")
    assert [site.announcer.error_of(each) for each in (VIP, VIP6)] == [down] * 2, "that concerns all"


async def test_ipv6_address_that_is_there_with_its_network_is_an_error_that_says_what_to_type(site: Site) -> None:
    """The kernel has it only once there, and says that it is there already. BIRD announces the whole network."""
    site.ip("-6 address add 2001:db8::100/64 dev lvs0 nodad")
    done = await site.turn({VIP6: True})
    assert done == Done(frozenset(), frozenset(), frozenset())
    (told,) = site.told(AnnounceError)
    assert isinstance(told, AnnounceError)
    what, _, command = told.error.partition(": ip ")
    assert what == "2001:db8::100 cannot be put on lvs0 alone, because 2001:db8::100/64 is there"
    site.ip(command)
    assert await site.turn({VIP6: True}) == Done(frozenset({VIP6}), frozenset({VIP6}), frozenset())
    assert site.addresses().keys() == {"2001:db8::100/128"}


async def test_network_namespace_that_is_not_there_is_an_error(site: Site) -> None:
    site.announcer = Announcer(Netns("no-such-namespace"), site.events.append)
    assert await site.turn({VIP: True}) is None
    (told,) = site.told(AnnounceError)
    assert "there is none; make it: ip netns add no-such-namespace" in told.error  # type: ignore[attr-defined]


async def test_nothing_of_an_old_configuration_is_written(site: Site) -> None:
    """A reload came while the interfaces were read."""
    assert await site.announcer.turn({VIP: True}, {VIP}, writes=True, is_old=lambda: True) is None
    assert site.addresses() == {}


@pytest.mark.parametrize(("verb", "is_there"), [("add", True), ("delete", False)])
async def test_somebody_else_may_do_the_same_at_the_same_moment(
    site: Site, monkeypatch: pytest.MonkeyPatch, verb: str, is_there: bool
) -> None:
    if not is_there:
        site.ip(f"address add {VIP.address}/32 dev lvs0")
    original: Callable[..., dict[str, announced.Found]] = announced.read

    def read(*arguments: object) -> dict[str, announced.Found]:
        found = original(*arguments)
        site.ip(f"address {verb} {VIP.address}/32 dev lvs0")
        return found

    monkeypatch.setattr(announced, "read", read)
    await site.turn({VIP: is_there})
    assert site.events == []
