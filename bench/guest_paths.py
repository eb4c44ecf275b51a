"""Keeps a table on a real IPVS with the mark services of path probes and without them, with the daemon's reconciler.

`scenarios/paths.py` starts `python -m bench.guest_paths N`: N rounds, each with both tables.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from bench.whole_table import live, table
from lvs_healthd.config.basics import Endpoint, Family, Protocol
from lvs_healthd.config.check_ways import DataPath
from lvs_healthd.ipvs.records import Table
from lvs_healthd.plan.mark_services import mark_service

SERVICES = 10
SERVERS = 1000
_FIRST_MARK = 65536


def main() -> None:
    """Measure, and write the results as JSON into the folder shared with the host."""
    plain = table(SERVICES, SERVERS)
    marked = plain | _mark_services(plain)
    found: dict[str, list[float]] = {}
    for _ in range(int(sys.argv[1])):
        row: dict[str, float] = {}
        for name, entries in (("without", plain), ("with", marked)):
            took = asyncio.run(live(entries))
            row[f"start {name}"] = took.start.wall_s
            row[f"resync {name}"] = min(each.wall_s for each in took.resyncs)
        for name, seconds in row.items():
            found.setdefault(name, []).append(seconds)
        print("    " + ", ".join(f"{name}: {seconds:.3f} s" for name, seconds in row.items()), flush=True)
    folder = Path(os.environ["LVS_HEALTHD_LAB_FOLDER"])
    (folder / "result.json").write_text(json.dumps({"kernel": os.uname().release, "took": found}), encoding="ascii")


def _mark_services(entries: Table) -> Table:
    """Return a mark service for each server, by direct routing."""
    addresses = [server.address for entry in entries.values() for server in entry.destinations]
    ways = [
        DataPath(protocol=Protocol.TCP, family=Family.IPV4, server=Endpoint(address, 0), forward="dr")
        for address in addresses
    ]
    found = [mark_service(way, mark) for mark, way in enumerate(ways, _FIRST_MARK)]
    return {entry.service.key: entry for entry in found}


if __name__ == "__main__":
    main()
