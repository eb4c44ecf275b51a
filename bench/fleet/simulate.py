"""The simulation of fleets of up to 1 000 directors: `python -m bench.fleet.simulate [--into FOLDER]`.

It writes results.md and plots into the folder. A run with the same code gives the same files: it measures nothing, but
computes from what was measured (`bench/fleet/parameters.py`) and from what the daemon's code says.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench.fleet.experiments import Outage, death, outage, probes, put, talk
from bench.fleet.parameters import Costs, Layout, said_bytes
from bench.outcome import Plot, Series, Table
from bench.plots import draw
from bench.report import markdown_table

SEED = 1
COSTS = Costs()

FLEETS = {
    "3 directors, 10 000 servers": Layout(directors=3, servers=10_000),
    "10 directors, 10 000 servers": Layout(directors=10, servers=10_000),
    "30 directors, 30 000 servers": Layout(directors=30, servers=30_000),
    "100 directors, 10 000 servers": Layout(directors=100, servers=10_000),
    "100 directors, 100 000 servers": Layout(directors=100, servers=100_000),
    "1 000 directors, 100 000 servers, cells of 10": Layout(cell=10),
}
"""Those that work, more or less. Without cells, every director has every server."""

WHOLE = Layout()
"""1 000 directors, each of which has all 100 000 servers."""

_DAY_S = 86_400.0
_RACK = 40
_HEAD = """# A fleet on paper

Written by `python -m bench.fleet.simulate`. It is a simulation: nothing here was measured on a fleet. What things cost
was measured on a small machine ([parameters.py](parameters.py), [calibrate.py](calibrate.py)). How long directors
wait, and what they write, is the daemon's own code. What follows from it is in
[docs/fleet.md](../../docs/fleet.md#how-large-a-fleet-may-be).

- A service has 100 servers, which are probed every 2 s by http; etcd has 4 cores at the server that is asked.
- Every server goes down and up once a day, which is many: that is "flaps". A rack is 40 servers.
- Cells are groups of directors with the same services, each group with a prefix of its own in the same etcd.
"""


def load_of_probes() -> Table:
    """Return the load of probes for each fleet."""
    rows: list[tuple[str, ...]] = []
    for name, layout in {**FLEETS, "1 000 directors, 100 000 servers, all by all": WHOLE}.items():
        found = probes(layout, COSTS)
        rows.append((name, _count(found.by_director), _cores(found.cores), f"{found.at_server:g}"))
    return Table("Probes", ("fleet", "a second by each director", "of its cores", "a second at each server"), rows)


def traffic() -> Table:
    """Return what directors tell each other for each fleet."""
    rows: list[tuple[str, ...]] = []
    for name, layout in FLEETS.items():
        found = talk(layout, COSTS, SEED, changes_per_s=2 * layout.servers / _DAY_S, seconds=30.0)
        rows.append(
            (
                name,
                f"{said_bytes(layout.own_services) / 1000:.1f} KB",
                _cores(found.idle_cores),
                f"{found.puts_per_s:.2g}",
                _bytes(found.told_bytes_per_s),
                _cores(found.cores),
                _seconds(found.after_s),
                _cores(found.director_cores),
            )
        )
    head = (
        "fleet", "what one says", "etcd's cores at rest", "words a second with flaps", "told a second", "etcd's cores",
        "99 % told after", "a director's cores",
    )  # fmt: skip
    return Table("What directors tell each other", head, rows)


def deaths() -> tuple[Table, Plot]:
    """Return how long dead servers stay in the tables."""
    rows: list[tuple[str, ...]] = []
    names: list[str] = []
    lasts: dict[str, list[float]] = {"a server that refuses": [], "a rack that is silent": []}
    for name, layout in FLEETS.items():
        alone = death(layout._replace(agree=1), COSTS, SEED)
        both = death(layout, COSTS, SEED)
        rack = death(layout, COSTS, SEED, servers=_RACK, is_silent=True)
        rows.append(
            (
                name,
                *(f"{each.first:.1f} / {each.median:.1f} / {each.last:.1f} s" for each in (alone, both, rack)),
                f"{rack.puts}, {_bytes(rack.told_bytes)}",
            )
        )
        names.append(name.replace(" directors, ", " x ").replace(" servers", "").replace(", cells of", "\nin cells of"))
        lasts["a server that refuses"].append(both.last)
        lasts["a rack that is silent"].append(rack.last)
    head = (
        "fleet",
        "a server that refuses, agree = 1",
        "the same, agree = 2",
        "a silent rack, agree = 2",
        "words of the rack",
    )
    plot = Plot(
        "fleet-death",
        "Until dead servers have left the last table, with agree = 2 (directors x servers)",
        "",
        "seconds",
        tuple(Series(label, tuple(names), *(3 * (tuple(values),))) for label, values in lasts.items()),
        bars=True,
    )
    return Table("Until dead servers have left the first, the middle and the last table", head, rows), plot


def puts() -> Table:
    """Return how long a put takes for each fleet."""
    rows: list[tuple[str, ...]] = []
    for name, layout in {**FLEETS, "1 000 directors, 100 000 servers, all by all": WHOLE}.items():
        found = put(layout, COSTS, SEED)
        row = (
            str(found.transactions),
            _bytes(found.told_bytes),
            f"{found.read_last:.1f} s",
            f"{found.in_tables:.0f} s",
        )
        rows.append((name, *row))
    head = ("fleet", "transactions", "told", "in force everywhere", "proven and in all tables")
    return Table("All services are put at once", head, rows)


def outages() -> tuple[Table, Plot]:
    """Return what outages of etcd do to each fleet."""
    rows: list[tuple[str, ...]] = []
    series = []
    for name, layout in FLEETS.items():
        short, killed, cut = (
            outage(layout, COSTS, SEED, seconds=seconds, is_silent=is_silent)
            for seconds, is_silent in ((10.0, False), (120.0, False), (120.0, True))
        )
        rows.append(
            (
                name,
                f"{_count(killed.attempts)} (at first {_count(killed.most_attempts)})",
                _count(cut.attempts),
                _count(killed.most_asked),
                _cores(killed.cores),
                *(_seconds(each.well_after_s) for each in (short, killed, cut)),
            )
        )
        series.append(_recovery(name, killed))
    head = (
        "fleet", "attempts a second, 2 min refused", "2 min silent", "most requests in one second after it",
        "etcd's cores after it", "all well after 10 s", "after 2 min refused", "after 2 min silent",
    )  # fmt: skip
    plot = Plot(
        "fleet-outage",
        "After two minutes without etcd: directors that follow everything and are heard",
        "seconds since the end",
        "% of the directors",
        tuple(series),
    )
    return Table("etcd is away", head, rows), plot


def _recovery(name: str, found: Outage) -> Series:
    return Series(name, tuple(at for at, _ in found.well), tuple(share for _, share in found.well))


def probes_at_servers() -> Plot:
    """Return how many probes a server gets, by the number of directors."""
    counts = (1, 3, 10, 30, 100, 300, 1000)
    series = [Series("every director probes every server", counts, tuple(map(_at_server, counts)))]
    for cell in (3, 10):
        at = tuple(_at_server(min(each, cell)) for each in counts)
        series.append(Series(f"in cells of {cell}", counts, at))
    return Plot(
        "fleet-probes", "Probes that each server gets (interval 2 s)", "directors", "probes a second", tuple(series),
        x_log=True, y_log=True,
    )  # fmt: skip


def _at_server(directors: int) -> float:
    return probes(Layout(directors=directors), COSTS).at_server


def store_at_rest() -> Plot:
    """Return how many cores of etcd a fleet takes while nothing happens, by the number of directors."""
    counts = (3, 10, 30, 100, 200, 300)
    kinds = {
        "10 services each": Layout(servers=1_000),
        "100 services each": Layout(servers=10_000),
        "1 000 services each": Layout(servers=100_000),
    }
    series = [
        Series(label, counts, tuple(_at_rest(layout._replace(directors=each)) for each in counts))
        for label, layout in kinds.items()
    ]
    cells = (10, 30, 100, 300, 1000)
    at = tuple(_at_rest(Layout(directors=each, cell=10, servers=each * 100)) for each in cells)
    return Plot(
        "fleet-store", "What etcd needs while nothing happens; it has 4 cores", "directors", "cores",
        (*series, Series("in cells of 10, 10 services each", cells, at)), x_log=True, y_log=True, limit=4.0,
    )  # fmt: skip


def _at_rest(layout: Layout) -> float:
    # A store with cores enough: what is asked of it is of interest here, not what becomes of that.
    return talk(layout._replace(store_cores=1000.0), COSTS, SEED, changes_per_s=1e-9, seconds=0.1).idle_cores


def report() -> tuple[str, list[Plot]]:
    """Return the text and the plots."""
    with ProcessPoolExecutor() as processes:
        told, dead, away = processes.submit(traffic), processes.submit(deaths), processes.submit(outages)
        at_rest, whole = processes.submit(store_at_rest), processes.submit(_whole)
        dead_table, dead_plot = dead.result()
        away_table, away_plot = away.result()
        tables = (load_of_probes(), told.result(), dead_table, puts(), away_table)
        plots = [probes_at_servers(), at_rest.result(), dead_plot, away_plot]
        last = whole.result()
    pictures = "\n".join(f"![{each.title}]({each.name}.png)\n" for each in plots)
    return "\n".join([_HEAD, *(markdown_table(each) for each in tables), last, pictures]), plots


def _whole() -> str:
    found = talk(WHOLE._replace(store_cores=1000.0), COSTS, SEED, changes_per_s=1e-9, seconds=0.1)
    each = COSTS.delivery + said_bytes(WHOLE.own_services) * COSTS.delivery_byte
    change = each * WHOLE.directors * (WHOLE.directors - 1)
    return (
        f"1 000 directors with all 100 000 servers each: at rest, etcd would need {found.idle_cores:.0f} cores, and "
        f"{change / 60:.0f} minutes of one core whenever one verdict changes. It does not work.\n"
    )


def _count(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")


def _cores(number: float) -> str:
    return "< 0.01" if number < 0.01 else f"{number:.2g}"


def _bytes(number: float) -> str:
    for unit in ("B", "KB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def _seconds(value: float) -> str:
    return "never" if value == float("inf") else f"{value:.2g} s" if value < 1 else f"{value:.1f} s"


def main() -> None:
    """Simulate, and write what was found."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet.simulate", description="Simulate fleets of directors.")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent, help="folder for results.md and plots")
    folder: Path = parser.parse_args().into
    folder.mkdir(parents=True, exist_ok=True)
    text, plots = report()
    (folder / "results.md").write_text(text, encoding="utf-8")
    for each in draw(plots, folder):
        print(each)


if __name__ == "__main__":
    main()
