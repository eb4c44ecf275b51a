"""The announced addresses of a daemon whose probes the test answers. The interface is real; the table is in memory."""

import asyncio
import contextlib
import errno
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from lab.netns import Namespace
from lvs_healthd.config.basics import AnnounceWhen, Endpoint, Seconds
from lvs_healthd.config.model import Below, Config, MinUp, Mode, Service
from lvs_healthd.daemon import announcing
from lvs_healthd.daemon.announce_foresight import WAITS
from lvs_healthd.daemon.announce_says import said
from lvs_healthd.daemon.announcing import AnnounceRuns
from lvs_healthd.daemon.parts import Parts, Settings, Surroundings, build
from lvs_healthd.decide.announcing import Say
from lvs_healthd.decide.held import ServiceState
from lvs_healthd.director import announced
from lvs_healthd.director.announcer import RETRY_S
from lvs_healthd.events.kinds import AnnounceDrift, AnnounceError, AnnounceOff, AnnounceOn, Event
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.records import Verb
from lvs_healthd.log import configure
from lvs_healthd.plan.records import destination_key, service_key
from lvs_healthd.probes.outcome import Course, Outcome, Reason, down, unsure, up
from lvs_healthd.reconcile.gate import Braked
from lvs_healthd.runtime import pace
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.view.announce_values import AnnounceStatus
from lvs_healthd.view.reload_values import AddressChange
from tests.configs import server, service
from tests.ipvs.tables import entry, table
from tests.ipvs.tables import server as line
from tests.ipvs.tables import service as web
from tests.namespaces import dummy, namespace

A, B, SPARE = "198.51.100.1", "198.51.100.2", "198.51.100.99"
VIP = "192.0.2.100"
ANSWER = up("connected")
REFUSED = down(Reason.REFUSED, "connection refused")
NO_CARRIER = "our interface eth1 has no carrier"
BLIND = unsure(Reason.LOCAL_NETWORK, NO_CARRIER)
WITHDRAW_S, ANNOUNCE_S, RESYNC_S = 2.0, 30.0, 10.0


class Site:
    def __init__(self, at: Namespace, parts: Parts, kernel: MemoryTable) -> None:
        self.at = at
        self.parts = parts
        self.kernel = kernel
        self.now = time.monotonic()
        self.symptoms: list[str] = []
        self.elsewhere: dict[str, bool | None] = {}
        """Whether other directors may serve, by name."""
        self.events: list[Event] = []
        self.runs = AnnounceRuns(
            parts.decisions,
            parts.reconciler,
            Netns(at.name),
            self.events.append,
            symptoms=lambda: self.symptoms,
            others=lambda services: [(name, [may for _ in services]) for name, may in self.elsewhere.items()],
            changed=lambda: None,
            clock=lambda: self.now,
        )
        parts.decisions.verdicts.clock = lambda: self.now

    def configure(self, *services: Service, shadow: bool = False) -> None:
        config = Config(services=services)
        self.parts.decisions.configure(config, self.parts.reconciler.actual, {})
        self.parts.replans.now()
        self.runs.configured(config, shadow=shadow)

    async def answer(self, outcome: Outcome, *addresses: str) -> None:
        """Let the last probes of these servers have this outcome, so often that their verdicts follow; and write."""
        self.find(outcome, *addresses)
        await self.write()

    def find(self, outcome: Outcome, *addresses: str) -> None:
        """Do the same, but write nothing."""
        for probe in list(self.parts.decisions.probes.values()):
            if probe.check.address in addresses:
                for _ in range(3):
                    probe.outcome(outcome, Course(0.001, connected_s=0.001 if outcome is ANSWER else None))
        self.parts.replans.now()

    async def write(self) -> None:
        self.parts.replans.now()
        await self.parts.reconciler.turn()

    async def goes_on(self, for_s: float = announcing.TURN_S) -> bool:
        """Let time go by without new outcomes. Return whether the interface has the address."""
        end = self.now + for_s
        while self.now < end:
            await self.runs.turn()
            self.now += announcing.TURN_S
        return VIP in self.addresses

    @property
    def addresses(self) -> set[str]:
        return self.on("lvs0")

    def on(self, interface: str) -> set[str]:
        (found,) = json.loads(self.at.run(["ip", "-j", "address", "show", "dev", interface]).stdout)
        return {each["local"] for each in found["addr_info"] if each["scope"] == "global"}

    @property
    def status(self) -> AnnounceStatus:
        (found,) = self.runs.statuses
        return found

    def told(self) -> list[tuple[str, str]]:
        """Return what was told of the address: the name of each event, and why."""
        kinds = AnnounceOn | AnnounceOff
        return [(each.name, each.reason) for each in self.events if isinstance(each, kinds)]

    def ip(self, words: str) -> None:
        self.at.run(["ip", *words.split()])


@pytest.fixture
def at() -> Iterator[Namespace]:
    with namespace() as made:
        dummy(made, "lvs0")
        yield made


@contextlib.asynccontextmanager
async def site(at: Namespace, *present: str) -> AsyncIterator[Site]:
    """Make a site whose kernel has these servers of the service web."""
    kernel = MemoryTable()
    kernel.entries = table(entry(web(scheduler="rr"), *(line(each) for each in present)))
    around = Surroundings(table=kernel, log=configure(), netns=Netns(), aspects=(), exclusive=False)
    parts = build(Settings(config_file=Path("config.toml")), Config(), around)
    await parts.reconciler.adopt()
    yield Site(at, parts, kernel)
    parts.prober.close()


def announce(made: Service, **more: object) -> Service:
    return msgspec.structs.replace(made, announce="lvs0", **more)


AT_ONCE = {"withdraw_after": Seconds(0.0)}
PLAIN = announce(service(server(A), server(B)))
TLS = announce(service(server(B, 8443), name="tls", port=443))
WELL, DEAD = "web: enough real servers may serve", "web: no real server may serve"


async def test_address_is_there_once_servers_are_proven_and_written_and_gone_after_they_are_dead(at: Namespace) -> None:
    async with site(at) as running:
        running.configure(PLAIN)
        assert not await running.goes_on(60.0)
        assert (running.status.wanted, running.status.reason) == (None, "web: its servers are not proven yet")
        await running.answer(ANSWER, A)
        assert await running.goes_on()
        await running.answer(REFUSED, A, B)
        assert await running.goes_on(WITHDRAW_S)
        assert not await running.goes_on()
        await running.answer(ANSWER, B)
        assert not await running.goes_on(ANNOUNCE_S)
        assert await running.goes_on()
        assert running.told() == [("announce.on", WELL), ("announce.off", DEAD), ("announce.on", WELL)]
        off = next(each for each in running.events if isinstance(each, AnnounceOff))
        assert off == AnnounceOff(
            vip=VIP,
            interface="lvs0",
            services=("web",),
            count=1,
            reason=DEAD,
            after_s=WITHDRAW_S + announcing.TURN_S,
            took_s=0.0,
        )


async def test_server_that_may_serve_but_is_not_written_announces_nothing(at: Namespace) -> None:
    async with site(at) as running:
        running.configure(PLAIN)
        running.find(ANSWER, A, B)
        assert not await running.goes_on(WITHDRAW_S)
        await running.write()
        assert await running.goes_on()


async def test_director_that_starts_announces_at_once_what_serves_and_leaves_the_address_until_it_knows(
    at: Namespace,
) -> None:
    running_before = f"address add {VIP}/32 dev lvs0"
    async with site(at, A, B) as running:
        running.ip(running_before)
        running.configure(PLAIN)
        assert await running.goes_on()
        assert running.told() == [("announce.on", WELL)]
    async with site(at) as running:
        running.configure(PLAIN)
        assert await running.goes_on(60.0)
        assert running.told() == []


async def test_address_that_somebody_else_changed_is_made_right_at_the_next_resync(at: Namespace) -> None:
    async with site(at, A, B) as running:
        running.configure(PLAIN)
        assert await running.goes_on()
        running.ip(f"address delete {VIP}/32 dev lvs0")
        assert await running.goes_on(RESYNC_S)
        assert running.events[1:] == [AnnounceDrift(vip=VIP, interface="lvs0", found="missing")]
        await running.answer(REFUSED, A, B)
        assert not await running.goes_on(WITHDRAW_S + announcing.TURN_S)
        running.ip(f"address add {VIP}/32 dev lvs0")
        assert not await running.goes_on(RESYNC_S)
        assert running.events[-1] == AnnounceDrift(vip=VIP, interface="lvs0", found="present")


async def test_address_that_is_taken_off_again_and_again_does_not_flap_faster_than_the_hysteresis(
    at: Namespace,
) -> None:
    async with site(at, A, B) as running:
        running.configure(PLAIN)
        await running.goes_on()
        repaired, taken_at, errors = [], 0.0, set()
        for _ in range(int(4 * ANNOUNCE_S / announcing.TURN_S)):
            if running.now - taken_at > 1.0:
                running.ip(f"address flush dev lvs0 to {VIP}")
                taken_at = running.now
            before = len(running.events)
            await running.runs.turn()
            running.now += announcing.TURN_S
            repaired += [running.now for each in running.events[before:] if isinstance(each, AnnounceDrift)]
            errors.add(running.status.error.partition("; it is put back in ")[0])
        assert len(repaired) == 4
        assert all(later - earlier >= ANNOUNCE_S for earlier, later in itertools.pairwise(repaired))
        assert errors == {"", "somebody else takes it off lvs0 again and again"}


async def test_one_service_that_may_serve_is_enough_or_all_must(at: Namespace) -> None:
    for when, is_there in ((AnnounceWhen.ANY, True), (AnnounceWhen.ALL, False)):
        async with site(at, A) as running:
            services = [announce(each, announce_when=when) for each in (service(server(A)), TLS)]
            running.configure(*services)
            await running.answer(ANSWER, A)
            await running.answer(REFUSED, B)
            assert await running.goes_on(WITHDRAW_S + announcing.TURN_S) is is_there
            assert running.status.services == ("web", "tls")
            assert running.status.reason == (WELL if is_there else "tls: no real server may serve")


async def test_fewer_than_min_up_do_not_count_unless_the_fallback_serves_or_it_fails_open(at: Namespace) -> None:
    two = announce(service(server(A), server(B)), min_up=MinUp(count=2))
    spare = announce(service(server(A), server(B), fallback=(SPARE,)), min_up=MinUp(count=2), below=Below.FALLBACK)
    opening = msgspec.structs.replace(two, below=Below.FAIL_OPEN)
    for made, is_there, why in (
        (two, False, "web: only 1 may serve, and min_up is 2"),
        (spare, True, "web: the fallback serves"),
        (opening, True, "web: it fails open"),
    ):
        async with site(at, A, B) as running:
            running.configure(made)
            await running.answer(ANSWER, A)
            await running.answer(REFUSED, B)
            assert await running.goes_on(WITHDRAW_S + announcing.TURN_S) is is_there
            assert running.status.reason == why


def braked(running: Site, patched: pytest.MonkeyPatch) -> None:
    """Let the brake keep all servers of the service in."""
    kept = {service_key(PLAIN): Braked(frozenset(destination_key(each) for each in PLAIN.real_servers), frozenset())}
    patched.setattr(running.parts.decisions.braking, "kept", lambda: kept)


async def test_director_whose_probes_cannot_tell_is_withdrawn_though_its_table_is_full(at: Namespace) -> None:
    """Others may reach the servers. Its verdicts and its table stay, because the servers may be well."""
    async with site(at, A, B) as running:
        running.configure(PLAIN)
        assert await running.goes_on()
        await running.answer(BLIND, A, B)
        assert await running.goes_on(WITHDRAW_S)
        assert not await running.goes_on()
        assert running.told()[-1] == ("announce.off", f"web: {NO_CARRIER}: none of its servers is reached")
        await running.answer(ANSWER, B)
        assert await running.goes_on(ANNOUNCE_S + announcing.TURN_S)


async def test_address_stays_while_nobody_else_may_serve_either(at: Namespace) -> None:
    async with site(at) as it:
        it.configure(PLAIN)
        await it.answer(ANSWER, A)
        assert await it.goes_on()
        it.elsewhere = {"b": True, "c": False}
        await it.answer(REFUSED, A, B)
        assert await it.goes_on(WITHDRAW_S - 0.5)
        it.elsewhere["b"] = False
        assert await it.goes_on(3 * WITHDRAW_S), "clients are refused"
        it.symptoms = [NO_CARRIER]
        assert not await it.goes_on(WITHDRAW_S + 0.5), "a fault of its own: others may be well"
        it.symptoms, it.elsewhere = [], {"b": True}
        assert not await it.goes_on(ANNOUNCE_S)
    async with site(at) as it:
        it.configure(PLAIN)
        await it.answer(ANSWER, A)
        assert await it.goes_on()
        it.elsewhere = {"b": True}
        await it.answer(REFUSED, A, B)
        assert not await it.goes_on(WITHDRAW_S + 0.5), "another director may serve"


@pytest.mark.parametrize("is_own", [True, False])
async def test_brake_keeps_the_address_unless_this_director_has_a_fault(
    at: Namespace, monkeypatch: pytest.MonkeyPatch, is_own: bool
) -> None:
    """Without a fault here, all directors may see the same, and to withdraw it everywhere would help nobody."""
    async with site(at, A, B) as running:
        running.configure(PLAIN)
        assert await running.goes_on()
        with monkeypatch.context() as patched:
            braked(running, patched)
            await running.answer(REFUSED, A, B)
            running.symptoms += [NO_CARRIER] if is_own else []
            assert await running.goes_on(60.0) is not is_own
        why = f"web: {NO_CARRIER}: none of its servers is reached"
        assert running.told()[1:] == ([("announce.off", why)] if is_own else [])


async def test_fault_of_this_director_withdraws_nothing_while_a_server_is_reached_or_an_operator_holds(
    at: Namespace,
) -> None:
    async with site(at, A, B) as running:
        running.configure(PLAIN)
        running.symptoms.append(NO_CARRIER)
        await running.answer(ANSWER, A)
        await running.answer(BLIND, B)
        assert await running.goes_on(60.0)
        running.parts.reconciler.gate.hold([service_key(PLAIN)])
        await running.answer(BLIND, A)
        assert await running.goes_on(60.0)
        running.parts.reconciler.gate.hold([])
        assert not await running.goes_on(WITHDRAW_S + announcing.TURN_S)


async def test_director_that_starts_with_a_fault_leaves_the_address_until_it_has_probed_its_servers(
    at: Namespace,
) -> None:
    async with site(at, A, B) as running:
        running.ip(f"address add {VIP}/32 dev lvs0")
        running.configure(PLAIN)
        running.symptoms.append(NO_CARRIER)
        assert await running.goes_on(60.0)
        assert running.status.reason == "web: its servers are not probed yet"
        await running.answer(BLIND, A, B)
        assert not await running.goes_on(WITHDRAW_S + announcing.TURN_S)


@pytest.mark.parametrize("how", ["hold", "brake"])
async def test_held_or_braked_service_that_still_has_servers_goes_on_being_announced(
    at: Namespace, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async with site(at, A, B) as running:
        running.configure(PLAIN)
        assert await running.goes_on()
        with monkeypatch.context() as patched:
            if how == "hold":
                running.parts.reconciler.gate.hold([service_key(PLAIN)])
            else:
                braked(running, patched)
            await running.answer(REFUSED, A, B)
            assert await running.goes_on(60.0)
            assert running.status.wanted is True
        running.parts.reconciler.gate.hold([])
        await running.write()
        assert not await running.goes_on(WITHDRAW_S + announcing.TURN_S)


async def test_held_service_without_servers_is_withdrawn(at: Namespace) -> None:
    async with site(at) as running:
        running.configure(PLAIN)
        running.ip(f"address add {VIP}/32 dev lvs0")
        running.parts.reconciler.gate.hold([service_key(PLAIN)])
        await running.answer(REFUSED, A, B)
        assert not await running.goes_on(WITHDRAW_S + announcing.TURN_S)


async def test_all_servers_replaced_at_once_withdraw_nothing(at: Namespace) -> None:
    """Their lines are written one after another, and nobody may take that for a service without servers."""
    async with site(at, A) as running:
        running.configure(announce(service(server(A)), **AT_ONCE))
        assert await running.goes_on()
        running.configure(announce(service(server(B)), **AT_ONCE))
        assert await running.goes_on()
        await running.answer(ANSWER, B)
        assert await running.goes_on()
        assert [name for name, _ in running.told()] == ["announce.on"]


async def test_error_of_another_service_withdraws_nothing(at: Namespace) -> None:
    odd = service(server(B, 8443), name="tls", port=443, scheduler="nonesuch")
    async with site(at, A) as running:
        running.configure(announce(service(server(A)), **AT_ONCE), odd)
        await running.answer(ANSWER, A, B)
        assert running.parts.reconciler.errors.last
        assert await running.goes_on()
        running.configure(announce(service(server(B)), **AT_ONCE), odd)
        running.find(ANSWER, B)
        assert await running.goes_on()
        assert running.told() == [("announce.on", WELL)]


async def test_kernel_that_takes_no_server_of_the_service_withdraws_its_address_and_is_named(at: Namespace) -> None:
    async with site(at) as running:
        running.ip(f"address add {VIP}/32 dev lvs0")
        running.configure(PLAIN)
        running.kernel.fail_next(Verb.ADD_SERVER, errno.ENOMEM, times=2)
        await running.answer(ANSWER, A, B)
        assert not await running.goes_on(WITHDRAW_S + announcing.TURN_S)
        error = running.parts.reconciler.errors.of(service_key(PLAIN))
        assert error
        assert running.told() == [("announce.off", f"web: its servers are not in the kernel's table: {error}")]


@pytest.mark.parametrize("is_dead", [False, True])
async def test_servers_that_stay_in_because_the_kernel_refuses_the_new_ones_count_unless_they_are_dead(
    at: Namespace, is_dead: bool
) -> None:
    async with site(at, A) as running:
        running.configure(announce(service(server(A)), **AT_ONCE))
        assert await running.goes_on()
        running.kernel.fail_next(Verb.ADD_SERVER, errno.ENOMEM, times=100)
        if is_dead:
            running.configure(announce(service(server(A), fallback=(SPARE,)), below=Below.FALLBACK, **AT_ONCE))
            await running.answer(REFUSED, A)
        else:
            running.configure(announce(service(server(B)), **AT_ONCE))
            await running.answer(ANSWER, B)
        assert running.parts.reconciler.errors.of(service_key(PLAIN))
        assert [key.address for key in running.kernel.entries[service_key(PLAIN)].destinations] == [A]
        assert await running.goes_on(WITHDRAW_S) is not is_dead


@pytest.mark.parametrize("is_daemon", [True, False])
async def test_shadow_mode_writes_nothing_and_tells_what_would_be(at: Namespace, is_daemon: bool) -> None:
    async with site(at) as running:
        made = PLAIN if is_daemon else announce(PLAIN, mode=Mode.SHADOW)
        running.configure(made, shadow=is_daemon)
        await running.answer(ANSWER, A, B)
        assert not await running.goes_on()
        running.ip(f"address add {VIP}/32 dev lvs0")
        await running.answer(REFUSED, A, B)
        assert await running.goes_on(WITHDRAW_S + RESYNC_S)
        assert running.told() == [("announce.on", WELL), ("announce.off", DEAD)]
        assert [each.shadow for each in running.events] == [True, True]  # type: ignore[attr-defined]
        assert (running.status.shadow, running.status.wanted, running.status.present) == (True, False, True)
        assert running.runs.saved() == ()


async def test_service_in_shadow_mode_has_no_say_beside_another(at: Namespace) -> None:
    async with site(at, A) as running:
        running.configure(announce(TLS, mode=Mode.SHADOW), announce(service(server(A))))
        await running.answer(ANSWER, B)
        await running.answer(REFUSED, A)
        assert not await running.goes_on(WITHDRAW_S + announcing.TURN_S)
        assert running.status.services == ("web",)
        assert running.runs.of(service_key(TLS)) == running.status, "but its address is shown"


async def test_reload_carries_on_and_takes_off_what_is_not_configured_any_more(at: Namespace) -> None:
    async with site(at, A, B) as running:
        running.configure(PLAIN)
        assert await running.goes_on()
        running.ip("address add 192.0.2.7/32 dev lvs0")
        await running.answer(REFUSED, A, B)
        assert await running.goes_on(WITHDRAW_S)
        running.configure(PLAIN)
        assert not await running.goes_on(), "the wait has gone on over the reload"
        await running.answer(ANSWER, A, B)
        assert await running.goes_on(ANNOUNCE_S + announcing.TURN_S)
        saved = running.runs.saved()
        running.configure(msgspec.structs.replace(PLAIN, announce=None))
        assert not await running.goes_on()
        assert running.addresses == {"192.0.2.7"}
        assert running.runs.statuses == ()
    async with site(at, A, B) as running:  # the same after a restart
        running.ip(f"address add {VIP}/32 dev lvs0")
        running.runs.restore(saved)
        running.configure(msgspec.structs.replace(PLAIN, announce=None))
        assert not await running.goes_on()
        assert running.runs.saved() == ()


@pytest.mark.parametrize("is_restart", [False, True])
async def test_address_that_moves_to_another_interface_stays_until_it_is_there(at: Namespace, is_restart: bool) -> None:
    moved = msgspec.structs.replace(PLAIN, announce="lvs1")
    async with site(at, A, B) as running:
        running.configure(PLAIN)
        assert await running.goes_on()
        saved = running.runs.saved()
        if not is_restart:
            since = running.status.since
            running.configure(moved)
            assert running.status.wanted is True, "what was decided goes along"
            since_moved = running.status.since
            assert since_moved != since
            assert await running.goes_on(60.0)
            dummy(at, "lvs1")
            assert not await running.goes_on(RETRY_S + announcing.TURN_S)
            assert running.on("lvs1") == {VIP}
            assert running.told() == [("announce.on", WELL)] * 2
            assert running.status.since == since_moved, "and from then on it counts how long that took"
            return
    dummy(at, "lvs1")
    async with site(at) as running:
        running.runs.restore(saved)
        running.configure(moved)
        assert await running.goes_on(60.0), "its servers are not proven yet"
        await running.answer(ANSWER, A)
        assert not await running.goes_on()
        assert running.on("lvs1") == {VIP}


async def test_address_that_was_withdrawn_and_moves_is_not_announced_sooner(at: Namespace) -> None:
    dummy(at, "lvs1")
    async with site(at, A, B) as running:
        running.configure(PLAIN)
        await running.answer(REFUSED, A, B)
        assert not await running.goes_on(WITHDRAW_S + announcing.TURN_S)
        await running.answer(ANSWER, A, B)
        assert not await running.goes_on(ANNOUNCE_S / 2)
        running.configure(msgspec.structs.replace(PLAIN, announce="lvs1"))
        await running.goes_on(ANNOUNCE_S / 2)
        assert running.on("lvs1") == set()
        await running.goes_on()
        assert running.on("lvs1") == {VIP}


async def test_service_that_goes_to_shadow_mode_and_to_another_interface_writes_nothing(at: Namespace) -> None:
    dummy(at, "lvs1")
    async with site(at, A, B) as running:
        running.configure(PLAIN)
        assert await running.goes_on()
        running.configure(msgspec.structs.replace(PLAIN, announce="lvs1", mode=Mode.SHADOW))
        assert await running.goes_on(RESYNC_S)
        assert running.on("lvs1") == set()


MISSING = announced.missing("lvs1")


@pytest.mark.parametrize(
    ("change", "said_of_it"),
    [
        ({}, []),
        ({"announce": ""}, ["would be taken off lvs0"]),
        ({"announce": "lvs1"}, [f"would stay on lvs0: {MISSING}"]),
        ({"announce": "lvs2"}, ["would move from lvs0 to lvs2"]),
        ({"announce": "lvs2", "mode": Mode.SHADOW}, ["would stay on lvs0: its services would be in shadow mode"]),
        ({"mode": Mode.SHADOW}, []),
    ],
)
async def test_dry_run_says_what_would_become_of_addresses_and_the_reload_does_so(
    at: Namespace, change: dict[str, object], said_of_it: list[str]
) -> None:
    dummy(at, "lvs2")
    async with site(at, A, B) as running:
        running.configure(PLAIN)
        assert await running.goes_on()
        changed = msgspec.structs.replace(PLAIN, **change)
        found = await running.runs.foreseen(Config(services=(changed,)), shadow=False)
        assert [each.change for each in found] == said_of_it
        assert {(each.address, each.was, each.when) for each in found} <= {(VIP, "lvs0", "")}
        assert await running.runs.foreseen(Config(services=(changed,)), shadow=True) == []
        assert await running.goes_on(), "nothing has changed"
        running.configure(changed)
        stays = not said_of_it or said_of_it[0].startswith("would stay")
        assert await running.goes_on() is stays
        assert running.on("lvs2") == ({VIP} if said_of_it == ["would move from lvs0 to lvs2"] else set())


async def test_dry_run_names_new_addresses_and_interfaces_that_are_missing(at: Namespace) -> None:
    async with site(at) as running:
        running.configure()
        there, away = (
            msgspec.structs.replace(PLAIN, announce=interface, endpoint=Endpoint(address, 80), name=address)
            for interface, address in (("lvs0", "192.0.2.1"), ("lvs1", "192.0.2.2"))
        )
        found = await running.runs.foreseen(Config(services=(there, away)), shadow=False)
        assert found == [
            AddressChange(address="192.0.2.1", interface="lvs0", change="would be put on lvs0", when=WAITS),
            AddressChange(address="192.0.2.2", interface="lvs1", change=f"could not be announced from lvs1: {MISSING}"),
        ]


def many(count: int) -> list[Service]:
    """Return services of one address."""
    return [announce(service(server(A, 1000 + each), name=f"s{each}", port=1000 + each)) for each in range(count)]


async def test_many_services_of_one_address_do_not_hold_the_loop(
    at: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock goes on by a tenth of a slice whenever it is asked."""
    async with site(at) as running:
        running.configure(*many(500))
        await running.answer(REFUSED, A)
        await running.runs.turn()
        asked = itertools.count()
        monkeypatch.setattr(pace, "clock", lambda: next(asked) * pace.SLICE_S / 10)
        turn = asyncio.create_task(running.runs.turn())
        rests = 0
        while not turn.done():
            await asyncio.sleep(0)
            rests += 1
        assert rests >= 500 / 11


async def test_no_service_is_asked_after_one_that_decides(at: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def noted(state: ServiceState, *arguments: object, **more: bool) -> Say:
        names.append(state.config.name)
        return said(state, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(announcing, "said", noted)
    async with site(at) as running:
        running.configure(*many(500))
        await running.answer(ANSWER, A)
        await running.runs.turn()
        assert names == ["s0"]
        await running.answer(REFUSED, A)
        await running.runs.turn()
        assert len(names) == 1 + 500


async def test_nothing_is_looked_at_until_a_reload_brings_an_address(at: Namespace) -> None:
    async with site(at, A, B) as running:
        running.configure(service(server(A), server(B)))
        task = asyncio.create_task(running.runs.run())
        await asyncio.sleep(3 * announcing.TURN_S)
        assert not running.runs._is_loaded, "pyroute2 is imported for nobody"
        running.configure(PLAIN)
        async with asyncio.timeout(20):
            while VIP not in running.addresses:
                await asyncio.sleep(0.02)
        task.cancel()


async def test_error_is_shown_and_tried_again_soon(at: Namespace) -> None:
    async with site(at, A, B) as running:
        running.ip("link delete lvs0")
        running.configure(PLAIN)
        await running.runs.turn()
        (told,) = running.events
        assert isinstance(told, AnnounceError)
        assert (running.status.error, running.status.wanted, running.status.present) == (told.error, True, False)
        dummy(at, "lvs0")
        assert await running.goes_on(RETRY_S + announcing.TURN_S)
        assert running.told() == [("announce.on", WELL)]
        assert running.status.error == ""
