"""What the simulation of a fleet assumes: what things cost, as measured, and how a fleet is laid out.

Whatever the daemon itself decides (how often it asks, how long it waits) is not here. The simulation takes that from
the daemon's own code.
"""

from typing import NamedTuple

from lvs_healthd.store.directors import Published, Said, written


class Costs(NamedTuple):
    """Processor time in seconds. Those of etcd and its clients are from `python -m bench.fleet.calibrate`.

    It was run on a small virtual machine with etcd 3.4, one server, by its JSON gateway, while other work ran there. At
    a quieter time it gave up to a third less, so these are on the safe side.
    """

    probe: float = 70e-6
    """One http probe on a director (docs/performance.md). A tcp probe takes 42 µs."""
    put: float = 1.6e-3
    put_byte: float = 70e-9
    """etcd writes a key, with so many bytes."""
    delivery: float = 258e-6
    delivery_byte: float = 32e-9
    """etcd tells one director that follows it."""
    beat: float = 1.3e-3
    beat_key: float = 6.4e-6
    beat_byte: float = 0.57e-9
    """etcd looks for the newest key below a prefix: it reads all of them, with their values."""
    read: float = 1.7e-3
    read_key: float = 53e-6
    read_byte: float = 9.5e-9
    """etcd lists all keys below a prefix."""
    keep: float = 1.0e-3
    """etcd keeps a lease alive, or grants one."""
    hear: float = 137e-6
    hear_byte: float = 10e-9
    """A director is told of a key."""
    understand_byte: float = 7e-9
    """A director decodes what another one says (285 µs for 1 000 services)."""
    reload_server: float = 20e-6
    """A director reads a new configuration, for each server: 0.2 s for 10 000 (docs/performance.md, a start)."""
    write_server: float = 22e-6
    """A director writes a server to the kernel's table: 224 ms for 10 000."""


class Layout(NamedTuple):
    """How a fleet is laid out."""

    directors: int = 1000
    servers: int = 100_000
    cell: int = 0
    """How many directors share the same services, under a prefix of their own; 0: all of them."""
    servers_in_service: int = 100
    agree: int = 2
    interval_s: float = 2.0
    """Between two probes of a server by one director."""
    store_cores: float = 4.0
    """How many processor cores etcd has, at the server that is asked."""
    endpoints: int = 3
    """How many servers of etcd the directors know."""
    shuffled: bool = False
    """Whether each director names the servers of etcd in another order. If not, all of them ask the first one."""

    @property
    def peers(self) -> int:
        """How many directors share the same services."""
        return self.cell or self.directors

    @property
    def cells(self) -> int:
        """How many groups of directors there are."""
        return max(1, self.directors // self.peers)

    @property
    def own_servers(self) -> int:
        """How many servers each director probes."""
        return self.servers // self.cells

    @property
    def own_services(self) -> int:
        """How many services each director has."""
        return max(1, self.own_servers // self.servers_in_service)


def said_bytes(services: int, not_up: int = 0) -> int:
    """Return how large what a director says is, bytes, as the daemon writes it.

    services: how many services it has.
    not_up: how many of their servers are not up.
    """
    others = {f"10.20.{number >> 8 & 255}.{number & 255}:8080": "down" for number in range(not_up)}
    said = {
        f"198.51.{number >> 8 & 255}.{number & 255}:443/tcp": Said(
            4_000_000_000 + number, None, others if not number else {}
        )
        for number in range(services)
    }
    return len(written(Published(run="0" * 32, sequence=1000, at=1.8e9, services=said)))
