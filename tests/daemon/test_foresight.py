"""What a dry run says of the kernel's table is what the reload then writes, and saying it changes nothing."""

import asyncio
import enum
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.daemon.foresight import STOPS, WAITS_FOR_CHECKS, WAITS_FOR_OPERATOR, WAITS_FOR_OTHERS
from lvs_healthd.daemon.parts import Parts
from lvs_healthd.events.kinds import TableChanged
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.probes.outcome import Course, Outcome, Reason, down, up
from lvs_healthd.reconcile.gate import Stop
from lvs_healthd.state.overrides import EVERYWHERE, Kind, Override
from lvs_healthd.view.reload_values import ReloadOutcome, ReloadRequest
from tests.daemon.test_reload import Site, site

DRY = ReloadRequest(dry_run=True, force=True)
FORCED = ReloadRequest(force=True)
HOSTS = ("198.51.100.11", "198.51.100.12", "198.51.100.13", "198.51.100.14")
PASS, REFUSED = up("connected"), down(Reason.REFUSED, "connection refused")
TIMEOUT = down(Reason.TIMEOUT, "no answer in 1s")
AT_ONCE = ""

_BEATS = ("progress",)
"""What the reconciler's loop changes every second, whatever else happens."""

_LEAVES = (str, bytes, int, float, complex, bool, type(None), enum.Enum, Path, type)


class OneWay:
    """All targets are behind one interface."""

    def of(self, check: AnyCheck) -> tuple[str, ...]:
        return ("eth1",)


def head(folder: Path, mode: str) -> str:
    return (
        f'[daemon]\nmode = "{mode}"\nlisten = ""\ncontrol = "{folder / "c"}"\nstate = "{folder / "state.json"}"\n'
        'reload_guard = "100%"\n'
    )


# The state of the daemon


def picture(root: object) -> dict[int, tuple[object, object]]:
    """Return everything that can be reached from an object: each object with what it holds, by identity.

    The pictures of two moments are equal if nothing was changed in between. The objects are in the picture, so that
    none of them is freed and its identity given to another.
    """
    seen: dict[int, tuple[object, object]] = {}
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, _LEAVES):
            continue
        parts: list[object]
        order: Any = list
        if isinstance(one, dict):
            parts = [each for item in one.items() for each in item]
        elif isinstance(one, set | frozenset):
            parts, order = list(one), frozenset
        elif isinstance(one, list | tuple | deque):
            parts = list(one)
        elif type(one).__module__.startswith("lvs_healthd"):
            parts = list(_fields(one))
        else:
            continue  # a socket, a task, a lock
        seen[id(one)] = one, order(each if isinstance(each, _LEAVES) else id(each) for each in parts)
        waiting += parts
    return seen


def differing(before: dict[int, tuple[object, object]], after: dict[int, tuple[object, object]]) -> list[str]:
    """Return the objects of the first picture that are gone or different in the second."""
    return [
        f"{type(one).__qualname__}: {content} -> {after.get(key, (None, 'gone'))[1]}"
        for key, (one, content) in before.items()
        if content != after.get(key, (None, "gone"))[1]
    ]


def _fields(one: object) -> Iterator[object]:
    names = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
    names += list(getattr(one, "__struct_fields__", ())) + list(getattr(one, "__dict__", ()))
    for name in names:
        mangled = f"_{type(one).__name__.lstrip('_')}{name}" if name.startswith("__") else name
        if name not in ("__weakref__", "__dict__", *_BEATS) and hasattr(one, mangled):
            yield getattr(one, mangled)


def test_picture_shows_the_smallest_change() -> None:
    class Inner(msgspec.Struct):
        word: str

    Inner.__module__ = "lvs_healthd.made.up"
    held = {"a": [Inner("x")]}
    before = picture(held)
    assert picture(held) == before
    held["a"][0].word = "y"
    assert picture(held) != before


# Random daemons and configurations


def _text(draw: st.DrawFn, mode: str) -> str:
    found = ""
    for number in (1, 2, 3):
        if not draw(st.integers(0, 4)):
            continue
        keys = {
            "scheduler": draw(st.sampled_from(["wrr", "wlc"])),
            "forward": draw(st.sampled_from(["nat", "nat", "dr"])),
            "on_failure": draw(st.sampled_from(["remove", "remove", "quiesce"])),
            "foreign_servers": draw(st.sampled_from(["remove", "remove", "keep"])),
            "mode": draw(st.sampled_from(["enforce"] * 5 + ["shadow"])),
        }
        found += f'\n[[service]]\nname = "web{number}"\naddress = "192.0.2.{number}:80"\n'
        found += "".join(f'{key} = "{value}"\n' for key, value in keys.items())
        found += draw(st.sampled_from(["", "", 'slow_start = "60s"\n', "damping = true\n"]))
        found += draw(st.sampled_from(["", "", 'min_up = "60%"\n', 'min_up = "60%"\nbelow = "fail_open"\n']))
        found += draw(st.sampled_from(["", "", 'fallback = ["198.51.100.99:80"]\n']))
        found += draw(st.sampled_from(["", "brake = false\n"] if number == 1 else [""]))
        interval = draw(st.sampled_from(["2s", "3s"]))
        found += f'check = {{ type = "tcp", interval = "{interval}", rise = {draw(st.integers(1, 2))} }}\n'
        found += "real_server = [\n"
        for host in draw(st.lists(st.sampled_from(HOSTS), min_size=1, unique=True)):
            weight = draw(st.sampled_from([1, 1, 2, 0]))
            more = draw(st.sampled_from(["", "", ", check = { fall = 2 }"]))
            found += f'  {{ address = "{host}:80", weight = {weight}{more} }},\n'
        found += "]\n"
    return found


@st.composite
def pairs(draw: st.DrawFn) -> tuple[tuple[str, str], tuple[str, str]]:
    """Draw the modes and the services of two configurations. Some services are the same in both."""
    was, mode = draw(st.sampled_from(["enforce"] * 4 + ["shadow"])), draw(st.sampled_from(["enforce"] * 4 + ["shadow"]))
    before, after = _text(draw, was), _text(draw, mode)
    if draw(st.booleans()):
        kept = before.split("\n[[service]]")
        new = after.split("\n[[service]]")
        merged = {part.partition("\naddress")[0]: part for part in new[1:]}
        merged |= {part.partition("\naddress")[0]: part for part in kept[1:2]}
        after = "".join(f"\n[[service]]{part}" for _, part in sorted(merged.items()))
    return (was, before), (mode, after)


ORDERS = st.lists(
    st.tuples(st.sampled_from(Kind), st.sampled_from([1, 2, 3, 0]), st.sampled_from(HOSTS), st.integers(0, 3)),
    max_size=2,
)
HOLDS = st.sampled_from([(), (), (), (None,), (1,), (2,)])
FINDINGS = st.lists(st.sampled_from([PASS, PASS, PASS, REFUSED, TIMEOUT, None]), min_size=1, max_size=5)


def key_of(parts: Parts, number: int | None) -> ServiceKey | None:
    return next((each.key for each in parts.decisions.services if each.config.name == f"web{number}"), None)


def probe_all(parts: Parts, findings: list[Outcome | None], times: int = 3) -> None:
    """Let probes find something: the first the first of the findings, and so on. None stands for no probe at all."""
    for at, probe in enumerate(parts.decisions.probes.values()):
        found = findings[at % len(findings)]
        for _ in range(times if found is not None else 0):
            assert found is not None
            again = Outcome(found.kind, found.reason, found.detail)
            probe.outcome(again, Course(1.0 if found is TIMEOUT else 0.001))


def order(parts: Parts, orders: list[tuple[Kind, int, str, int]]) -> None:
    for kind, number, host, weight in orders:
        key = key_of(parts, number)
        where = (EVERYWHERE, host) if key is None else (str(key), f"{host}:80")
        parts.decisions.overrides.put(
            Override(
                kind=kind,
                service=where[0],
                server=where[1],
                weight=weight if kind is Kind.WEIGHT else None,
                uid=0,
                since=1.0,
            )
        )
    parts.decisions.reconsider(parts.decisions.servers)


async def settled(parts: Parts) -> None:
    """Plan, and wait until what can be written is written."""
    parts.replans.now()
    await written_all(parts)


async def written_all(parts: Parts) -> None:
    """Wait for a whole turn of the reconciler. The second reading is answered only after the writes of the first."""
    for _ in range(2):
        await parts.reconciler.read_back(20.0)
    for _ in range(100):
        await asyncio.sleep(0)


def simulate_network(parts: Parts) -> None:
    """Let a daemon's network be one interface without faults."""
    parts.decisions.braking.ways = OneWay()
    parts.own_faults.link = lambda *_: ""  # type: ignore[method-assign]
    parts.own_faults.table = lambda *_: ""  # type: ignore[method-assign]


async def dry_run_and_reload(running: Site, text: str) -> tuple[ReloadOutcome, list[dict[str, object]]]:
    """Return what a dry run says of a configuration, and the lines that the log has of the reload's writes."""
    parts = running.parts
    running.file.write_text(text)
    table = parts.table
    assert isinstance(table, MemoryTable)
    before, writes = picture(parts), list(table.writes)
    said = await running.requests.outcome(DRY)
    after = picture(parts)
    changed = differing(before, after)
    assert changed == [], changed
    assert table.writes == writes
    while not running.events.empty():
        running.events.get_nowait()
    done = await running.requests.outcome(FORCED)
    assert done.errors == said.errors
    await written_all(parts)
    told = []
    while not running.events.empty():
        event = running.events.get_nowait()
        if isinstance(event, TableChanged):
            told.append(msgspec.structs.asdict(event))
    return said, told


def at_once(said: ReloadOutcome) -> set[tuple[str, ...]]:
    return {
        (each.operation, each.service, each.server, each.fields, each.reason) for each in said.table if not each.when
    }


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(pair=pairs(), findings=FINDINGS, second=FINDINGS, orders=ORDERS, held=HOLDS)
def test_dry_run_says_what_the_reload_writes_and_changes_nothing(
    pair: tuple[tuple[str, str], tuple[str, str]],
    findings: list[Outcome | None],
    second: list[Outcome | None],
    orders: list[tuple[Kind, int, str, int]],
    held: tuple[int | None, ...],
) -> None:
    async def check() -> None:
        with tempfile.TemporaryDirectory() as folder:
            (was, old), (mode, new) = pair
            async with site(Path(folder), head(Path(folder), was) + old) as running:
                parts = running.parts
                simulate_network(parts)
                await parts.operators.load()
                probe_all(parts, [PASS])
                await settled(parts)
                probe_all(parts, findings)
                probe_all(parts, second)
                if was == "enforce":  # the end of shadow mode brings the orders of the file, which is not tried
                    order(parts, orders)
                await settled(parts)
                parts.reconciler.gate.hold(
                    key for each in held if (key := key_of(parts, each)) is not None or each is None
                )
                said, told = await dry_run_and_reload(running, head(Path(folder), mode) + new)
                really = [each for each in told if not each["shadow"]]
                names = ("operation", "service", "server", "fields", "reason")
                done = {tuple(str(each[name]) for name in names) for each in really}
                assert at_once(said) == done, (at_once(said) - done, done - at_once(said), said.table)
                assert said.table_count == len(said.table)
                assert mode == "enforce" or not really

    asyncio.run(check())


def of(service: str, *hosts: str, keys: str = "", mode: str = "enforce") -> str:
    servers = ", ".join(f'"{host}:80"' for host in hosts)
    return (
        f'\n[[service]]\nname = "{service}"\naddress = "192.0.2.1:80"\nscheduler = "wrr"\nmode = "{mode}"\n{keys}'
        f'check = {{ type = "tcp", rise = 1 }}\nreal_server = [{servers}]\n'
    )


async def said_after(folder: Path, old: str, new: str, *, mode: str = "enforce", held: bool = False) -> ReloadOutcome:
    """Return what a dry run says of a new configuration, where all servers of the old one are up."""
    folder = Path(tempfile.mkdtemp(dir=folder))  # this process keeps the lock on the state file
    async with site(folder, head(folder, "enforce") + old) as running:
        parts = running.parts
        await parts.operators.load()
        probe_all(parts, [PASS])
        await settled(parts)
        parts.reconciler.gate.hold([None] if held else [])
        return (await dry_run_and_reload(running, head(folder, mode) + new))[0]


def whens(said: ReloadOutcome) -> dict[tuple[str, str], str]:
    return {(each.operation, each.server.partition(":")[0]): each.when for each in said.table}


async def test_new_server_waits_for_its_checks_and_one_whose_checks_pass_already_does_not(tmp_path: Path) -> None:
    another = of("other", HOSTS[1]).replace("192.0.2.1", "192.0.2.2")
    said = await said_after(tmp_path, of("web", HOSTS[0]) + another, of("web", *HOSTS[:3]) + another)
    assert whens(said) == {("add_server", HOSTS[1]): AT_ONCE, ("add_server", HOSTS[2]): WAITS_FOR_CHECKS}
    assert said.table_count == 2


async def test_only_server_that_is_replaced_goes_when_the_new_one_serves(tmp_path: Path) -> None:
    said = await said_after(tmp_path, of("web", HOSTS[0]), of("web", HOSTS[1]))
    assert whens(said) == {("add_server", HOSTS[1]): WAITS_FOR_CHECKS, ("delete_server", HOSTS[0]): WAITS_FOR_OTHERS}


async def test_held_table_and_shadow_mode_say_that_nothing_is_written_yet(tmp_path: Path) -> None:
    old, new = of("web", *HOSTS[:2]), of("web", HOSTS[0])
    for mode, stop in (("enforce", Stop.HOLD), ("shadow", Stop.SHADOW)):
        said = await said_after(tmp_path, old, new, mode=mode, held=mode == "enforce")
        assert whens(said) == {("delete_server", HOSTS[1]): STOPS[stop]}
    said = await said_after(tmp_path, old, of("web", HOSTS[0], mode="shadow"))
    assert whens(said) == {("delete_server", HOSTS[1]): STOPS[Stop.SHADOW]}


async def test_drained_new_server_waits_for_the_operator(tmp_path: Path) -> None:
    async with site(tmp_path, head(tmp_path, "enforce") + of("web", HOSTS[0])) as running:
        parts = running.parts
        await parts.operators.load()
        order(parts, [(Kind.DRAIN, 3, HOSTS[1], 0)])  # in all services, for there is no web3
        probe_all(parts, [PASS])
        await settled(parts)
        said, _ = await dry_run_and_reload(running, head(tmp_path, "enforce") + of("web", *HOSTS[:2]))
    assert whens(said) == {("add_server", HOSTS[1]): WAITS_FOR_OPERATOR}


async def test_reload_that_the_guard_refuses_is_refused_by_the_dry_run_in_the_same_words(tmp_path: Path) -> None:
    ten = [f"198.51.100.{number}" for number in range(11, 21)]
    guarded = head(tmp_path, "enforce").replace("100%", "50%")
    async with site(tmp_path, guarded + of("web", *ten)) as running:
        await running.parts.operators.load()
        probe_all(running.parts, [PASS])
        await settled(running.parts)
        running.file.write_text(guarded + of("web", *ten[:4]))
        said = await running.requests.outcome(ReloadRequest(dry_run=True))
        done = await running.requests.outcome(ReloadRequest())
        assert said.errors == done.errors
        assert "6 of the 10 servers that serve now would be taken out" in said.errors[0]
        assert (said.table, said.table_count) == ((), 0)


async def test_servers_that_the_brake_keeps_stay_in_a_service_that_is_changed(tmp_path: Path) -> None:
    old = of("web", *HOSTS[:3])
    async with site(tmp_path, head(tmp_path, "enforce") + old) as running:
        parts = running.parts
        simulate_network(parts)
        await parts.operators.load()
        probe_all(parts, [PASS])
        await settled(parts)
        for _ in range(3):  # all of them fall silent together
            probe_all(parts, [TIMEOUT], times=1)
        await settled(parts)
        said, told = await dry_run_and_reload(running, head(tmp_path, "enforce") + old.replace("wrr", "wlc"))
    assert [(each["operation"], each["fields"]) for each in told] == [("set_service", "scheduler wrr -> wlc")]
    kept = {("delete_server", host): STOPS[Stop.BRAKE] for host in HOSTS[:3]}
    assert whens(said) == {("set_service", ""): AT_ONCE, **kept}


async def test_dry_run_names_an_address_that_could_not_be_announced(tmp_path: Path) -> None:
    web = '[[service]]\nname = "web"\naddress = "192.0.2.100:80"\ncheck = "tcp"\nreal_server = ["198.51.100.11"]\n'
    async with site(tmp_path, head(tmp_path, "enforce") + web) as running:
        running.file.write_text(head(tmp_path, "enforce") + web.replace("check", 'announce = "no-such-lvs0"\ncheck'))
        outcome = await running.requests.outcome(DRY)
        (found,) = outcome.addresses
        assert outcome.addresses_count == 1
        assert (found.address, found.interface) == ("192.0.2.100", "no-such-lvs0")
        assert found.change.startswith("could not be announced from no-such-lvs0: there is no interface no-such-lvs0")
