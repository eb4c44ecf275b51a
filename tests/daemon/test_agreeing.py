"""Directors that tell each other what they see: what each does with that, and what it tells."""

import contextlib
import math
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.model import Config, Service
from lvs_healthd.daemon.agreeing import SAY_AGAIN_S
from lvs_healthd.daemon.parts import Parts, Settings, Surroundings, build
from lvs_healthd.decide.agreeing import LONGEST_S
from lvs_healthd.decide.vetoing import LEASE_S, TOLD_AFTER_S
from lvs_healthd.events.kinds import Event, VetoAlone, VetoError, VetoOff, VetoOn, VetoTogether
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.log import configure
from lvs_healthd.probes.outcome import Course, Outcome, Reason, down, unsure, up
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.store.directors import Board, InMemory, Published, Said, read, written
from tests.configs import server, service
from tests.ipvs.tables import entry, table
from tests.ipvs.tables import server as line
from tests.ipvs.tables import service as web

A, B = "198.51.100.1", "198.51.100.2"
ANSWER = up("connected")
REFUSED = down(Reason.REFUSED, "connection refused")
TIMEOUT = down(Reason.TIMEOUT, "no answer in 1s")
BLIND = unsure(Reason.LOCAL_NETWORK, "no carrier")
WEB = "192.0.2.100:80/tcp"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wait for the time that was spent: the clock of these tests stands still."""
    monkeypatch.setattr("lvs_healthd.daemon.agreeing.SAY_SHARE", math.inf)


class Director:
    """A director with two servers in its table, which exchanges by a board what it sees."""

    def __init__(self, name: str, board: Board, parts: Parts, kernel: MemoryTable) -> None:
        self.name = name
        self.parts = parts
        self.kernel = kernel
        self.events: list[Event] = []
        self._board = board
        parts.bus.subscribe(self.events.append)
        parts.decisions.verdicts.clock = parts.decisions.vetoing._clock = board.clock
        parts.agreement._clock = parts.view._clock = board.clock
        self.exchange = InMemory(board, name)
        self.configure(service(server(A), server(B)))
        parts.agreement.configured(name, 2, self.exchange)

    def configure(self, *services: Service) -> None:
        self.parts.decisions.configure(Config(services=services), self.parts.reconciler.actual, {})
        self.parts.replans.now()

    async def find(self, outcome: Outcome, *addresses: str) -> None:
        for probe in list(self.parts.decisions.probes.values()):
            if probe.check.address in addresses:
                for _ in range(3):
                    probe.outcome(outcome, Course(0.001, connected_s=0.001 if outcome is ANSWER else None))
        self.parts.agreement.look_again()
        self.parts.replans.now()
        await self.turn()

    async def turn(self) -> set[str]:
        """Look once, write what may be written, and return who is in the table."""
        await self.parts.agreement.turn()
        await self.parts.reconciler.turn()
        return {key.address for entry in self.kernel.entries.values() for key in entry.destinations}

    def told(self) -> list[Event]:
        kinds = VetoOn | VetoOff | VetoAlone | VetoTogether | VetoError
        return [each for each in self.events if isinstance(each, kinds)]


class OneWay:
    """All targets are behind one interface."""

    def of(self, check: AnyCheck) -> tuple[str, ...]:
        return ("eth1",)


class Fleet:
    """Directors that share a board, and their clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.board = Board(lambda: self.now)
        self.directors: list[Director] = []

    async def turn(self, wait_s: float = 0.0) -> list[set[str]]:
        """Let time go by, and all directors look twice. Return who is in the table of each."""
        self.now += wait_s
        for name, (content, _) in list(self.board.said.items()):
            self.board.said[name] = content, self.now  # it keeps alive what it says
        for each in self.directors:
            each.parts.agreement.look_again()
            await each.turn()
        return [await each.turn() for each in self.directors]


@contextlib.asynccontextmanager
async def fleet(*names: str) -> AsyncIterator[Fleet]:
    made = Fleet()
    for name in names:
        kernel = MemoryTable()
        kernel.entries = table(entry(web(scheduler="rr"), line(A), line(B)))
        around = Surroundings(table=kernel, log=configure(), netns=Netns(), aspects=(), exclusive=False)
        parts = build(Settings(config_file=Path("config.toml")), Config(), around)
        await parts.reconciler.adopt()
        made.directors.append(Director(name, made.board, parts, kernel))
    for each in made.directors:
        await each.find(ANSWER, A, B)
    await made.turn()
    yield made
    for each in made.directors:
        each.parts.prober.close()


async def test_server_that_only_one_director_cannot_reach_stays_and_one_that_all_see_down_goes() -> None:
    async with fleet("a", "b", "c") as them:
        one, two, _ = them.directors
        await one.find(REFUSED, A)
        assert await them.turn() == [{A, B}] * 3
        assert one.told() == []
        await them.turn(TOLD_AFTER_S)
        reason = "seen up by b, c: 1 of 2 needed see it down"
        assert one.told() == [
            VetoOn(service="web", server=f"{A}:80", reason=reason, for_s=round(LONGEST_S - TOLD_AFTER_S, 3))
        ]
        await two.find(REFUSED, A)
        assert await them.turn() == [{B}, {B}, {A, B}], "two agree, and the third one has not found out yet"
        assert isinstance(one.told()[-1], VetoOff)
        assert two.told() == []


async def test_veto_ends_after_five_minutes_and_with_the_directors_that_hold() -> None:
    async with fleet("a", "b") as them:
        one = them.directors[0]
        await one.find(REFUSED, A)
        assert (await them.turn(LONGEST_S - 1.0))[0] == {A, B}
        assert (await them.turn(1.0))[0] == {B}
        await one.find(REFUSED, B)
        assert await one.turn() == {B}
        them.now += LEASE_S + 0.1
        await one.turn()
        assert await one.turn() == set(), "the other one is silent, so this one decides alone"
        them.now += LEASE_S
        await one.turn()
        assert one.told()[-1] == VetoAlone(heard=0, needed=1, cause="")
        await them.turn()
        assert isinstance(one.told()[-1], VetoTogether)


async def test_peer_that_cannot_tell_or_has_another_configuration_holds_nobody() -> None:
    async with fleet("a", "b") as them:
        one, two = them.directors
        await two.find(BLIND, A)
        await them.turn()
        await one.find(REFUSED, A)
        assert (await them.turn())[0] == {B}
        two.configure(service(server(A), server(B), server("198.51.100.3")))
        await them.turn()
        await one.find(REFUSED, B)
        assert (await them.turn())[0] == set()


async def test_whom_the_brake_lets_go_others_hold_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with fleet("a", "b") as them:
        one = them.directors[0]
        decisions = one.parts.decisions
        monkeypatch.setattr(decisions.braking, "ways", OneWay())
        monkeypatch.setattr(decisions.braking, "_clock", lambda: them.now)
        for _ in range(4):
            them.now += 1.0
            await one.find(TIMEOUT, A, B)
        await one.parts.brakes._turn()
        assert {key.address for each in decisions.braking.kept().values() for key in each.servers} == {A, B}
        assert decisions.vetoing.kept() == {}
        them.now += 301.0
        for name, (content, _) in list(them.board.said.items()):
            them.board.said[name] = content, them.now
        one.parts.agreement._hear()
        await one.parts.brakes._turn()
        assert decisions.braking.kept() == {}
        await one.parts.reconciler.turn()
        assert await one.turn() == {A, B}


async def test_what_is_said_is_compact_and_said_again_only_if_it_has_changed() -> None:
    async with fleet("a", "b") as them:
        one = them.directors[0]
        said = read(them.board.said["a"][0])
        assert (list(said.services), said.services[WEB].others, said.run) == ([WEB], {}, one.parts.agreement.run_id)
        await one.find(REFUSED, A)
        first = them.board.said["a"]
        assert read(first[0]).services[WEB].others == {f"{A}:80": "down"}
        them.now += SAY_AGAIN_S
        await one.turn()
        assert them.board.said["a"] is first
        await one.find(BLIND, B)
        them.now += SAY_AGAIN_S
        await one.turn()
        assert read(them.board.said["a"][0]).services[WEB].others == {f"{A}:80": "down", f"{B}:80": "unsure"}


def hostile() -> Iterator[bytes]:
    yield from (b"", b"{}", b"[" * 100_000, b"\xff", b"null", b'{"format":1,"run":"x","sequence":1,"at":1e999}')
    good = Published(run="x", sequence=1, at=0.0, services={WEB: Said(0, None, {f"{A}:80": "down", "x": "\n"})})
    yield written(msgspec.structs.replace(good, format=2))
    yield written(good).replace(b'"down"', b"7")
    yield b" " * (1024 * 1024 + 1)
    yield written(
        msgspec.structs.replace(good, services={WEB: Said(0, True, {f"{A}:80": "dead"}), "\n": Said(0, None)})
    )


@pytest.mark.parametrize("number", range(len([*hostile()])))
async def test_hostile_director_takes_nobody_out_and_is_told_once(number: int) -> None:
    async with fleet("a") as them:
        one = them.directors[0]
        them.board.said["evil\n"] = [*hostile()][number], them.now
        for _ in range(2):
            assert await one.turn() == {A, B}
        assert len([each for each in one.told() if isinstance(each, VetoError)]) == (number < 9)
        await one.find(REFUSED, A)
        assert await one.turn() == {B}, "it does not count"


async def test_status_and_why_show_each_view_and_the_vote() -> None:
    async with fleet("a", "b", "c") as them:
        one = them.directors[0]
        await them.directors[2].find(BLIND, A)
        await one.find(REFUSED, A)
        await them.turn(TOLD_AFTER_S)
        status = one.parts.view._daemon().agreement
        assert status is not None
        assert (status.director, status.agree, status.heard, status.vetoed, status.error) == ("a", 2, 2, 1, "")
        assert [(each.director, each.not_up, each.is_heard) for each in status.directors] == [
            ("b", 0, True),
            ("c", 1, True),
        ]
        (veto,) = status.vetoes
        assert (veto.server, veto.reason) == (f"{A}:80", "seen up by b: 1 of 2 needed see it down")
        assert veto.until - veto.since == LONGEST_S
        assert one.parts.view._held_by(next(iter(one.kernel.entries))) == "veto"
        why = one.parts.view.why("web", A).servers[0].layers
        assert why is not None
        assert [(each.director, each.sight) for each in why.directors] == [("b", "up"), ("c", "unsure")]
        (kept,) = why.kept_back
        assert (kept.by, kept.todo) == (
            "veto",
            f"see to the way from here to it; if it is dead all the same: lvs-healthd disable web {A}:80",
        )
        assert kept.reason == "seen up by b: 1 of 2 needed see it down; it goes in 298s at the latest"
