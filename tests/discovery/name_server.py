"""Runs a real name server (Knot) for one zone, and lets it say something else."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP

import dns.exception
import dns.message
import dns.query
import dns.rcode

from tests.ready_made.servers import Server, free_port, running

ZONE = "example.net"
BROKEN = "broken.example"
"""A zone that cannot be read, so that its server answers SERVFAIL."""
WITHIN_S = 30.0


class NameServer:
    """A server of the zone example.net, on loopback. `serves` runs one."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self._folder = folder
        self._serial = 0
        self.server: Server

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def write(self, *records: str) -> None:
        """Write the zone."""
        self._serial += 1
        soa = f"@ 60 SOA ns.{ZONE}. root.{ZONE}. {self._serial} 3600 600 86400 60\n@ 60 NS ns.{ZONE}.\n"
        (self._folder / "zone").write_text(f"{soa}ns 60 A 127.0.0.1\n" + "".join(f"{each}\n" for each in records))

    def says(self, *records: str) -> None:
        """Have these records in the zone from now on, and no others."""
        self.write(*records)
        self.server.notify(SIGHUP)
        self.wait()

    def wait(self) -> None:
        """Wait until the zone is served as it was written last."""
        question = dns.message.make_query(ZONE, "SOA")
        end = time.monotonic() + WITHIN_S
        while time.monotonic() < end:
            with contextlib.suppress(dns.exception.DNSException, OSError):
                answer = dns.query.udp(question, "127.0.0.1", timeout=0.5, port=self.port)
                if any(record.serial == self._serial for found in answer.answer for record in found):
                    return
            time.sleep(0.01)
        raise AssertionError(self.server.log())


@contextlib.contextmanager
def serves(folder: Path, *records: str) -> Iterator[NameServer]:
    """Run a name server with these records in its zone, and a zone that is broken."""
    folder.mkdir(exist_ok=True)
    own = NameServer(free_port(), folder)
    own.write(*records)
    (folder / "broken").write_text("@ SOA this is no zone\n")
    (folder / "knot.conf").write_text(
        f'server:\n  listen: "127.0.0.1@{own.port}"\n  rundir: "{folder}"\n  udp-max-payload: 1232\n'
        f'database:\n  storage: "{folder}"\n'
        f'template:\n  - id: default\n    storage: "{folder}"\n    journal-content: none\n    zonefile-sync: -1\n'
        f'zone:\n  - domain: "{ZONE}"\n    file: "zone"\n  - domain: "{BROKEN}"\n    file: "broken"\n'
        "log:\n  - target: stderr\n    any: info\n"
    )
    with running(["knotd", "-c", folder / "knot.conf"], folder) as server:
        own.server = server
        own.wait()
        yield own
