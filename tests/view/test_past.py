"""What is remembered of each server: what has happened to it and to what it depends on, in order and in bounds."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from lvs_healthd.config.model import Config
from lvs_healthd.events import kinds as events
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.ipvs.words import AF_INET
from lvs_healthd.state.history import Place
from lvs_healthd.view.past import MOST_LEFT, MOST_TEXT, SHARED_S, Past, ReloadChange
from lvs_healthd.view.past_words import WORDS
from tests.configs import config, server, service
from tests.decide.test_decisions import Bench

A, B, SPARE = "198.51.100.11", "198.51.100.12", "198.51.100.99"
WEB = f"{A}:80"


def key(address: str, port: int = 80) -> DestinationKey:
    return DestinationKey(AF_INET, address, port)


class Site:
    """A past that hears of events a second apart."""

    def __init__(self, given: Config, most: int = 20) -> None:
        self.now = 1000.0
        self.past = Past(lambda: self.now)
        self.bench = Bench()
        self.use(given, most)

    def use(self, given: Config, most: int = 20) -> None:
        self.bench.configure(given)
        self.past.configured(self.bench.decisions.services, most)

    @property
    def service(self) -> ServiceKey:
        return self.bench.decisions.services[0].key

    def tell(self, *told: events.Event, apart_s: float = 1.0) -> None:
        for event in told:
            self.now += apart_s
            self.past.listen(event)

    def of(self, address: str = A, ways: Iterable[str] = (), which: int = 0) -> list[str]:
        service = self.bench.decisions.services[which].key
        return [each.text for each in self.past.of(service, key(address), ways)]


PAIR = config(
    service(server(A), server(B), fallback=(SPARE,)),
    service(server(A), name="other", address="192.0.2.101"),
)


@pytest.fixture
def site() -> Site:
    return Site(PAIR)


def up(address: str = A, was: str = "down", **keys: Any) -> events.RealServerUp:
    about = {"service": "web", "server": f"{address}:80", "check": "tcp", "reason": "connected", **keys}
    return events.RealServerUp(**about, passes=2, rise=2, was=was, after_s=3.5)


def down(address: str = A, **keys: Any) -> events.RealServerDown:
    about = {"service": "web", "server": f"{address}:80", "check": "tcp", "reason": "connection refused", **keys}
    return events.RealServerDown(**about, failures=3, fall=3, was="up", after_s=3.5)


def written(operation: str, reason: str = "connected", address: str = A, **keys: Any) -> events.TableChanged:
    about = {"service": "web", "server": f"{address}:80" if address else "", "fields": "weight 1, forward nat", **keys}
    return events.TableChanged(operation=operation, reason=reason, **{"shadow": False, **about})


def refused(service: str, *servers: str) -> events.OperatorRefused:
    return events.OperatorRefused(request="drain it", uid=7, pid=1, why="no", service=service, servers=servers)


REFUSED = "refused to uid 7: drain it: no"


def test_events_about_a_server_become_words_in_order(site: Site) -> None:
    about: dict[str, Any] = {"service": "web", "server": WEB}
    site.tell(
        down(),
        written("delete_server", "connection refused"),
        up(),
        written("add_server"),
        written("set_server", "configured", fields="weight 1 -> 5"),
        events.TableDrift(**about, found="weight 7, expected 5", instead="lvs-healthd weight web x 7"),
        written("set_server", "repair: configured", fields="weight 7 -> 5"),
        events.OverrideSet(**about, kind="drain", reason="kernel", uid=0, until="2026-11-23T04:05:14Z"),
        events.RealServerDrained(**about, reason="no connections left", after_s=3.0),
        events.OverrideEnded(**about, kind="drain", why="its time is over", after_s=3.0),
        events.OverrideSet(**about, kind="weight", weight=0, reason="", uid=0, until=""),
        events.OverrideEnded(**about, kind="weight", why="weight by uid 0", after_s=3.0),
        events.RealServerFlapping(**about, reason="it fell 4 times within 10m", is_damped=True),
        events.RealServerDamped(**about, reason="it fell 4 times within 10m", for_s=60.0, times=1),
        events.RealServerReleased(**about, verdict="up"),
        events.RealServerWeight(**about, check="agent", reason="up 50%", weight=3, was=5, configured=5),
        events.TableFight(**about, times=5, hold_s=9.0, suspects=("keepalived (pid 8)",)),
        events.TableFightOver(**about),
        events.TableError(operation="set_server", **about, error="no memory", retry_s=1.0),
        written("delete_server", "drained", shadow=True),
    )
    assert site.of() == [
        "down, was up: tcp: connection refused",
        "removed: connection refused",
        "up, was down: tcp: connected",
        "added (weight 1, forward nat): connected",
        "weight 1 -> 5: configured",
        "somebody else has changed the kernel's table: weight 7, expected 5; what lasts: lvs-healthd weight web x 7",
        "weight 7 -> 5: repair: configured",
        "drained by uid 0 until 2026-11-23T04:05:14Z: kernel",
        "drained: no connections left; it leaves the table",
        "no longer drained: its time is over",
        "weight 0 by uid 0",
        "no longer at an ordered weight: weight by uid 0",
        "flaps: it fell 4 times within 10m",
        "held out for 60s because it flaps: it fell 4 times within 10m",
        "no longer held out because it flapped; it is up",
        "agent asks for weight 3, was 5: up 50%",
        "somebody else undoes what is written again and again; perhaps keepalived (pid 8)",
        "nobody undoes what is written any more",
        "could not be written (set_server): no memory",
        "would be removed: drained",
    ]
    found = site.past.of(site.service, key(A))
    assert (found[0].at, found[0].event, found[-1].at) == (1001.0, "real_server.down", 1020.0)
    assert site.of(B) == []


def test_files_of_the_maintenance_folder_are_remembered_of_the_machine(site: Site) -> None:
    site.tell(
        events.MaintenanceBegan(file="/m/db1:80", servers=(WEB, f"{B}:80"), count=2),
        events.MaintenanceEnded(file="/m/db1:80", servers=(WEB,), why="the file was removed", after_s=3.0),
        events.MaintenanceBegan(file="/m/2001:db8::1", servers=("2001:db8::1",), count=1),
    )
    began = f"the file /m/db1:80 drains {WEB}, {B}:80"
    assert site.of() == [began, f"the file /m/db1:80 no longer drains {WEB}: the file was removed"]
    assert (site.of(B), site.of(A, which=1)) == ([began], site.of())


def test_every_event_about_one_server_is_remembered_or_left_to_its_checks() -> None:
    of_checks = {"check.failing", "check.unsure", "check.stale", "check.renewed", "certificate.ending"}
    reminders = {"override.ending"}
    about = {each.name for each in events.EVENTS if "server" in each.__struct_fields__}
    assert about - {each.name for each in WORDS} == of_checks | reminders


def test_healthy_server_costs_nothing(site: Site) -> None:
    site.tell(
        written("add_service", "configured", ""),
        up(was="unknown"),
        written("add_server"),
        events.ServiceServing(service="web", servers=2),
    )
    assert [*site.past.kept()] == []
    assert site.past._of == site.past._by_name == {}  # a service may have only one server
    assert not site.past.is_changed
    site.tell(down(), up(was="unknown"))
    assert site.of() == ["down, was up: tcp: connection refused", "up, was unknown: tcp: connected"]
    assert site.past.is_changed


def test_what_concerns_several_servers_is_told_of_each_and_kept_once(site: Site) -> None:
    site.tell(
        events.TableHeld(service="web", uid=0, reason="look"),
        events.OverrideSet(service="*", server=A, kind="disable", reason="reboot", uid=0, until=""),
        events.TableReleased(service="", uid=0, after_s=1.0),
        events.BrakeOn(way="eth1", silent=5, targets=6, cause="no carrier"),
        events.BrakeOn(way="eth2", silent=5, targets=6, cause="no carrier"),
        events.BrakeOff(way="eth1", reason="a target answers", after_s=2.0),
        events.ServiceFallback(service="web", fallback=(f"{SPARE}:80",)),
        events.ServiceServing(service="web", servers=1),
        events.TableError(operation="read", service="", server="", error="no answer", retry_s=1.0),
    )
    web = ["the service is held by uid 0: look"]
    machine = ["disabled in all services by uid 0: reboot"]
    whole = ["the whole table is released by uid 0"]
    brake = ["brake on eth1: 5 of 6 targets are silent; no carrier", "brake off eth1: a target answers"]
    fallback = [
        f"no real server may serve; the fallback is in use: {SPARE}:80",
        "a real server may serve again",
    ]
    error = ["the kernel's table could not be read: no answer"]
    assert site.of(A, ("eth1", "eth1 via x")) == web + machine + whole + brake + fallback + error
    assert site.of(B) == web + whole + fallback + error
    assert site.of(A, which=1) == machine + whole + error
    assert site.of(SPARE) == web + whole + fallback + error
    assert len([*site.past.kept()]) == 5


def test_fallback_servers_and_services_that_need_more_servers_have_words(site: Site) -> None:
    about: dict[str, Any] = {"service": "web", "server": f"{SPARE}:80", "check": "http", "after_s": 3.0}
    floor: dict[str, Any] = {"service": "web", "min_up": 2, "is_weight": False}
    site.tell(
        events.FallbackUp(**about, reason="status 200"),
        events.FallbackDown(**about, reason="status 503"),
        events.FallbackUp(**about, reason="status 200"),
        events.ServiceBelow(**floor, able=1, action="fail_open"),
        events.ServiceEnough(**floor, able=2),
    )
    assert site.of(SPARE) == [
        "down: http: status 503",
        "up: http: status 200",
        "1 may serve, fewer than min_up 2; all serve that no order takes out",
        "enough real servers may serve again: 2, min_up is 2",
    ]


def test_most_is_the_number_of_entries_of_the_newest(site: Site) -> None:
    site.use(PAIR, 3)
    for number in range(5):
        site.tell(down(reason=f"reason {number}"))
    site.tell(events.TableHeld(service="web", uid=0, reason=""))
    assert site.of() == [f"down, was up: tcp: reason {number}" for number in (3, 4)] + ["the service is held by uid 0"]
    site.use(PAIR, 0)
    site.tell(down())
    assert (site.of(), [*site.past.kept()]) == ([], [])


def test_thousands_that_fail_together_share_the_same_entry() -> None:
    hosts = [f"198.51.{high}.{low}" for high in range(2) for low in range(1, 251)]
    site = Site(config(service(*map(server, hosts))))
    site.tell(*(down(host) for host in hosts), apart_s=SHARED_S / 1000)
    entries = [entry for _, of_server in site.past.kept() for entry in of_server]
    assert (len(entries), len({id(entry) for entry in entries})) == (500, 1)
    site.now += 2 * SHARED_S
    site.tell(down(hosts[0]))
    first, second = site.past.of(site.service, key(hosts[0]))
    assert first is entries[0] is not second
    assert second.at > first.at


def test_shared_entry_is_never_older_than_what_its_server_has_seen(site: Site) -> None:
    site.tell(down(B), up(A), down(A), apart_s=SHARED_S / 4)
    came, went = site.past.of(site.service, key(A))
    assert (came.text[:2], went.text[:4]) == ("up", "down")
    assert went.at - came.at == pytest.approx(SHARED_S / 4)


def test_what_goes_on_is_remembered_once_until_it_has_ended(site: Site) -> None:
    held = events.TableHeld(service="", uid=0, reason="look")
    error = events.TableError(operation="set_server", service="web", server=WEB, error="no memory", retry_s=1.0)
    site.tell(held, error, held, error, written("set_server"), events.TableReleased(service="", uid=0, after_s=1.0))
    site.tell(held, error)
    told = [each.event for each in site.past.of(site.service, key(A))]
    assert told == ["table.held", "table.error", "table.changed", "table.released", "table.held", "table.error"]


@pytest.mark.parametrize(
    ("event", "meant"),
    [
        (refused("web", WEB), [A]),
        (refused("web", A), [A]),
        (refused("192.0.2.100:80", B), [B]),
        (refused("web"), [A, B, SPARE]),
        (refused("w*", "*.11:*"), [A]),
        (refused("web", A, B), [A, B]),
        (refused("*", A), [A]),
        (refused("*", "203.0.113.1"), []),
        (refused("nobody", A), []),
        (refused("", ""), []),
        (refused("web", "203.0.113.1"), []),
    ],
)
def test_refused_attempt_is_told_of_those_that_it_names(
    site: Site, event: events.OperatorRefused, meant: Sequence[str]
) -> None:
    site.tell(event)
    assert [address for address in (A, B, SPARE) if site.of(address)] == list(meant)
    if meant:
        assert site.of(meant[0]) == [REFUSED]
    else:
        assert [*site.past.kept()] == []


def test_foreign_servers_are_not_remembered_however_many(site: Site) -> None:
    for number in range(1, 250):
        about = {"service": "web", "server": f"203.0.113.{number}:80"}
        site.tell(
            events.TableDrift(**about, found="not configured"),
            written("delete_server", "repair: not configured", f"203.0.113.{number}"),
            events.TableDrift(service="somebody's", server="203.0.113.1:80", found="missing"),
        )
    assert [*site.past.kept()] == []


def test_long_text_is_cut(site: Site) -> None:
    site.tell(down(reason="x" * 10_000))
    (text,) = site.of()
    assert (len(text), text[-1]) == (MOST_TEXT, "…")


async def test_server_that_left_and_returned_is_remembered_and_those_that_left_are_bounded() -> None:
    many = [f"198.51.{high}.{low}" for high in range(1, 9) for low in range(1, 251)]
    site = Site(config(service(server(A), *map(server, many))))
    site.tell(down(A), *(down(host) for host in many))
    service_key = site.service
    site.use(config(service(server(B))))
    changes = [ReloadChange(service_key, key(host), "removed") for host in (A, *many)]
    await site.past.reloaded([*changes, ReloadChange(service_key, key(B), "added")], site.now)
    assert len([*site.past.kept()]) == MOST_LEFT
    site.use(config(service(server(A), server(many[-1]))))
    back = [ReloadChange(service_key, key(host), "added") for host in (A, many[-1])]
    await site.past.reloaded(back, site.now + 1)
    assert site.of(A) == []
    site.tell(up(many[-1], was="unknown"))
    assert site.of(many[-1]) == [
        "down, was up: tcp: connection refused",
        "not configured any more",
        "configured again",
        "up, was unknown: tcp: connected",
    ]


async def test_service_of_which_all_that_was_known_is_forgotten_is_remembered_from_then_on(site: Site) -> None:
    web, other = (each.key for each in site.bench.decisions.services)
    site.tell(down(service="other"))
    left = [ReloadChange(other, key(A), "removed")]
    left += [ReloadChange(web, key(f"10.0.{n // 250}.{n % 250}"), "removed") for n in range(MOST_LEFT)]
    site.use(config(PAIR.services[0], service(server(B), name="other", address="192.0.2.101")))
    await site.past.reloaded(left, site.now)
    assert site.of(A, which=1) == []
    site.tell(down(B, service="other"))
    assert [text.partition(",")[0] for text in site.of(B, which=1)] == ["down"]
    assert Place(str(other), f"{B}:80") in dict(site.past.kept())


async def test_service_that_left_long_ago_and_returned_is_remembered(site: Site) -> None:
    other = site.bench.decisions.services[1].key
    site.tell(down(service="other"))
    site.use(config(service(server(A))))
    left = [ReloadChange(other, None, "removed"), ReloadChange(other, key(A), "removed")]
    await site.past.reloaded(left, site.now)
    site.use(config(service(server(B))))
    site.use(PAIR)
    await site.past.reloaded([ReloadChange(other, key(A), "added")], site.now + 1)
    site.tell(up(service="other", was="unknown"))
    assert [text.partition(",")[0] for text in site.of(A, which=1)] == [
        "down",
        "not configured any more",
        "configured again",
        "up",
    ]
    assert site.past._left == {}


async def test_change_by_a_reload_says_what_is_different(site: Site) -> None:
    change = ReloadChange(site.service, key(A), "changed", "weight 1 -> 2")
    await site.past.reloaded([change], 1234.5)
    (entry,) = site.past.of(site.service, key(A))
    assert (entry.at, entry.event, entry.text) == (1234.5, "config.reloaded", "configured: weight 1 -> 2")


def test_service_that_is_renamed_keeps_its_past(site: Site) -> None:
    site.tell(down())
    site.use(config(service(server(A), name="www")))
    site.tell(up(service="www"), written("set_server", service="web"))  # the reconciler may still know the old name
    assert [text.partition(",")[0] for text in site.of()] == ["down", "up", "weight 1"]


async def test_what_was_kept_comes_before_what_happens_now_and_strangers_count_as_having_left(site: Site) -> None:
    site.tell(down(), down(B), down(service="other"), events.BrakeOn(way="eth1", silent=2, targets=2, cause="x"))
    kept = dict(site.past.kept())
    again = Site(config(service(server(A), fallback=(SPARE,))))
    again.now = site.now + 60
    again.tell(up())
    await again.past.restore(kept)
    assert again.of(A, ("eth1",)) == [
        "down, was up: tcp: connection refused",
        "brake on eth1: 2 of 2 targets are silent; x",
        "up, was down: tcp: connected",
    ]
    assert set(again.past._left) == {place for place in kept if place.server == f"{B}:80" or place.service == OTHER}
    again.tell(up(was="unknown"))
    assert again.of()[-1] == "up, was unknown: tcp: connected"
    await Site(PAIR, most=0).past.restore(kept)


OTHER = "192.0.2.101:80/tcp"


def test_places_are_those_of_the_file(site: Site) -> None:
    site.tell(down(), events.TableHeld(service="", uid=0, reason=""))
    assert {place for place, _ in site.past.kept()} == {Place("192.0.2.100:80/tcp", WEB), Place("", "")}
