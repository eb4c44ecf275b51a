"""What is asked of a simulated fleet: the load of probes, of what directors tell each other, of a put, of an outage."""

import statistics
from functools import partial
from typing import NamedTuple

from bench.fleet.detection import check, detected_s
from bench.fleet.directors import WAY_S, Director, Fleet
from bench.fleet.events import Agenda, Processors
from bench.fleet.parameters import Costs, Layout
from lvs_healthd.daemon.agreeing import PAUSE_S
from lvs_healthd.decide.agreeing import LONGEST_S
from lvs_healthd.probing.scheduler import FIRST_PROBES_PER_S

START_S = 10.0
"""Over how long directors are started, seconds."""

SETTLED_S = 20.0
"""When they have had time to settle, seconds."""

SERVER_BYTES = 17
"""What a server takes in a list of servers in etcd, bytes: "198.51.100.11", with quotes and a comma."""

AT_ONCE_BYTES = 1_500_000
"""How much etcd takes in one transaction, bytes."""


class Probes(NamedTuple):
    """The load of probes."""

    by_director: float
    """How many each director sends a second."""
    cores: float
    """How many of its cores that takes."""
    at_server: float
    """How many each server gets a second."""


def probes(layout: Layout, costs: Costs) -> Probes:
    """Return the load of probes: it is only arithmetic."""
    by_director = layout.own_servers / layout.interval_s
    return Probes(by_director, by_director * costs.probe, layout.peers / layout.interval_s)


class Talk(NamedTuple):
    """What directors tell each other while servers fall and rise."""

    well: int
    """How many directors follow everything and are heard, at the end."""
    idle_cores: float
    """How many cores of etcd are needed while nothing happens."""
    cores: float
    """The same meanwhile."""
    puts_per_s: float
    told_bytes_per_s: float
    """How many bytes directors are told of each other a second, all together."""
    after_s: float
    """From a word of one director to the last of the others, seconds: 99 % of them."""
    director_cores: float
    """How many cores each director needs to hear the others."""


def talk(layout: Layout, costs: Costs, seed: int, *, changes_per_s: float, seconds: float) -> Talk:
    """Let servers fall and rise at random.

    changes_per_s: how many verdicts change in the whole fleet, a second. All directors of a cell see each.
    """
    fleet = _settled(layout, costs, seed)
    idle = fleet.load(6.0)
    agenda, store, asked = fleet.agenda, fleet.store, check(layout.interval_s)
    began, puts, told, heard = agenda.now, store.puts, store.told_bytes, _heard_s(fleet)
    store.told_after.clear()
    when = began
    cells = [*store.cells.values()]
    down = dict.fromkeys(store.cells, 0)
    while (when := when + agenda.random.expovariate(changes_per_s)) < began + seconds:
        cell = agenda.random.randrange(len(cells))
        change = -1 if down[cell] else 1
        down[cell] += change
        for each in cells[cell]:
            agenda.at(when + detected_s(asked, agenda.random, is_silent=False), partial(each.see, change))
    load = fleet.load(seconds)
    return Talk(
        fleet.well,
        idle,
        load,
        (store.puts - puts) / seconds,
        (store.told_bytes - told) / seconds,
        _share(store.told_after, 0.99),
        (_heard_s(fleet) - heard) / seconds / len(store.all),
    )


class Death(NamedTuple):
    """When the directors of a cell took dead servers out, seconds after the death."""

    first: float
    median: float
    last: float
    puts: int
    told_bytes: int


def death(layout: Layout, costs: Costs, seed: int, *, servers: int = 1, is_silent: bool = False) -> Death:
    """Let servers of one cell die at the same moment.

    servers: how many: 1, or all of a rack. Each director sees each at its own time.
    is_silent: whether they answer nothing, and do not refuse.
    """
    fleet = _settled(layout, costs, seed)
    agenda, store, asked = fleet.agenda, fleet.store, check(layout.interval_s)
    cell, began, puts, told = store.cells[0], agenda.now, store.puts, store.told_bytes
    # Of a rack, the last of its servers counts: by then what a director says of it is told too.
    seen = {each: [detected_s(asked, agenda.random, is_silent=is_silent) for _ in range(servers)] for each in cell}
    said_down: dict[Director, dict[Director, float]] = {each: {} for each in cell}
    for each, times in seen.items():
        for at in times:
            agenda.at(began + at, partial(each.see, 1))
        each.heard = partial(_note, said_down[each], servers)
    while agenda.now < began + LONGEST_S:
        agenda.run(agenda.now + 10.0)
        if all(len(each) >= layout.agree - 1 for each in said_down.values()):
            break
    gone = []
    for each, times in seen.items():
        own = max(times)
        others = sorted(said_down[each].values())
        agreed = 0.0
        if layout.agree > 1:
            needed = layout.agree - 2
            agreed = others[needed] - began + PAUSE_S if len(others) > needed else own + LONGEST_S
        gone.append(max(own, agreed))
    return Death(min(gone), statistics.median(gone), max(gone), store.puts - puts, store.told_bytes - told)


def _note(noted: dict[Director, float], servers: int, director: Director, now: float) -> None:
    if director.not_up >= servers:
        noted.setdefault(director, now)


class Put(NamedTuple):
    """When all directors had new services, seconds after the put."""

    read_first: float
    read_last: float
    """When the last director had them in force."""
    in_tables: float
    """When all servers were in all tables, after they had passed their checks."""
    told_bytes: int
    transactions: int


def put(layout: Layout, costs: Costs, seed: int) -> Put:
    """Put all services of all cells at once, to directors that have none."""
    agenda = Agenda(seed)
    cores = Processors(agenda, layout.store_cores * (layout.endpoints if layout.shuffled else 1))
    size = layout.own_servers * SERVER_BYTES
    transactions = -(-size // AT_ONCE_BYTES)
    asked = check(layout.interval_s)
    read: list[float] = []
    own = layout.own_servers

    def told() -> None:
        read.append(agenda.now + WAY_S + size * costs.hear_byte + own * costs.reload_server)

    for _ in range(layout.cells):
        cores.ask(transactions * costs.put + size * costs.put_byte, lambda: None)
    for _ in range(layout.cells * layout.peers):
        cores.ask(transactions * costs.delivery + size * costs.delivery_byte, told)
    agenda.run(3600.0)
    proven_s = own / FIRST_PROBES_PER_S + (asked.rise - 1) * asked.fast_interval + own * costs.write_server
    return Put(min(read), max(read), max(read) + proven_s, size * len(read), transactions * layout.cells)


class Outage(NamedTuple):
    """An outage of etcd, and its end."""

    attempts: float
    """How many times etcd was asked in vain, a second, in the last quarter of the outage."""
    most_attempts: int
    """The same in the worst second, which is the first of a short one."""
    most_asked: int
    """How many requests came in the worst second after its end."""
    cores: float
    """How many cores of etcd were asked for in the ten seconds after its end."""
    well_after_s: float
    """How long after its end all directors follow everything and are heard again; infinite if not in five minutes."""
    well: tuple[tuple[float, float], ...]
    """What share of the directors was well, percent, by the seconds since the end."""


def outage(layout: Layout, costs: Costs, seed: int, *, seconds: float, is_silent: bool) -> Outage:
    """Let all servers of etcd be away.

    is_silent: whether they are cut off, so that nothing is refused.
    """
    fleet = _settled(layout, costs, seed)
    agenda, store = fleet.agenda, fleet.store
    began = agenda.now
    store.asked.clear()
    store.fail(silent=is_silent)
    agenda.run(began + seconds)
    asked, store.asked = store.asked, []
    store.come_back()
    end, before = agenda.now, store.cores.used
    shares, well_after, cores = [], float("inf"), 0.0
    for tenth in range(1, 3001):
        agenda.run(end + tenth / 10)
        if tenth == 100:
            cores = (store.cores.used - before) / 10
        share = 100 * fleet.well / len(store.all)
        shares.append((tenth / 10, share))
        if share == 100:
            well_after = tenth / 10
            break
    quarter = began + seconds * 0.75
    return Outage(
        sum(at >= quarter for at in asked) / (seconds * 0.25),
        _most(asked),
        _most(store.asked),
        cores or (store.cores.used - before) / max(0.1, agenda.now - end),
        well_after,
        tuple(shares),
    )


def _settled(layout: Layout, costs: Costs, seed: int) -> Fleet:
    fleet = Fleet(layout, costs, seed)
    fleet.start(START_S)
    fleet.agenda.run(SETTLED_S)
    return fleet


def _heard_s(fleet: Fleet) -> float:
    return sum(each.heard_s for each in fleet.store.all)


def _share(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))] if values else float("inf")


def _most(times: list[float]) -> int:
    """Return how many of these times are in the second that has the most."""
    counted: dict[int, int] = {}
    for each in times:
        counted[int(each)] = counted.get(int(each), 0) + 1
    return max(counted.values(), default=0)
