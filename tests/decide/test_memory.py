"""What a server costs in memory, from its configuration to the wanted table, is bounded."""

import gc
import tracemalloc

from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.probes.outcome import Course, up
from tests.decide.test_decisions import Bench

SERVERS = 500
"""In each of the services."""

MOST_BYTES = 1850
"""The most that a server with one http check may take, bytes as tracemalloc counts them. In Python 3.11 it takes 1760.
It took 2380 when checks, courses and reasons were neither shared nor packed."""


def given(services: int) -> Config:
    text = ""
    for number in range(services):
        servers = "".join(f' "10.{number}.{index >> 8}.{index & 255}:8080",\n' for index in range(1, SERVERS + 1))
        text += (
            f'[[service]]\nname = "s{number}"\naddress = "192.0.2.{number + 1}:80"\n'
            f'check = {{ type = "http", path = "/healthz" }}\nreal_server = [\n{servers}]\n'
        )
    return parse(text, "c.toml", memory=LastReading())


def held_bytes(services: int) -> int:
    """Return how much memory servers take that have all passed several probes."""
    gc.collect()
    tracemalloc.start()
    try:
        bench = Bench()
        bench.configure(given(services))
        outcome = up("status 200")
        for _ in range(4):
            for probe in bench.decisions.probes.values():
                bench.now += 0.001
                probe.outcome(outcome, Course(bench.now / 7, bench.now / 9, None, bench.now / 8))
            bench.decisions.wanted({})
        bench.events.clear()
        bench.observed.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_server_takes_no_more_memory_than_it_should() -> None:
    few, many = held_bytes(1), held_bytes(3)
    assert (many - few) / (2 * SERVERS) <= MOST_BYTES
