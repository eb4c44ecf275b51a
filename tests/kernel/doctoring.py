"""Runs the doctor on the lab's director, with a configuration and a table that belong to it."""

import contextlib
import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lab.netns import RealServer
from lab.topology import Topology
from tests.kernel.verbs import run_here

HEAD = """
[daemon]
listen = ""
control = "{folder}/control.sock"
state = "{folder}/state.json"
mode = "{mode}"

[ipvs]
netns = "{netns}"
"""


class Found(NamedTuple):
    """What the doctor found: its exit status, and each finding by its name."""

    code: int
    findings: dict[str, dict[str, object]]
    has_daemon: bool
    whole: str

    @property
    def names(self) -> set[str]:
        return set(self.findings)


class Doctor:
    """A director with services whose table was written by hand. No daemon runs."""

    def __init__(self, topology: Topology, folder: Path, services: Sequence[str], *, mode: str = "enforce") -> None:
        self.topology = topology
        self.file = folder / "doctor.toml"
        head = HEAD.format(folder=folder, mode=mode, netns=topology.director.name)
        self.file.write_text(head + "".join(services))

    def __call__(self, *words: str) -> Found:
        code, out, err = run_here("doctor", *words, "--json", "--config", str(self.file))
        assert out, err
        answer = json.loads(out)
        findings = {each["name"]: each for each in answer["findings"]}
        return Found(code, findings, answer["has_daemon"], out + err)

    def healthy(self) -> None:
        """Check that the doctor has nothing to say: neither a finding nor a line."""
        assert run_here("doctor", "--config", str(self.file))[:2] == (0, "")

    def on(self, *commands: str) -> None:
        for command in commands:
            self.topology.director.run(command.split())


def service(name: str, address: str, servers: Sequence[str], keys: str) -> str:
    """Return a service of a configuration, with a plain tcp check unless `keys` has another one."""
    check = "" if "check =" in keys else 'check = "tcp"\n'
    listed = ", ".join(f'"{each}"' for each in servers)
    where = address if address.startswith("fwmark") else f'address = "{address}"'
    return f'\n[[service]]\nname = "{name}"\n{where}\nscheduler = "rr"\n{keys}\n{check}real_server = [{listed}]\n'


@contextlib.contextmanager
def listening(server: RealServer, port: int) -> Iterator[None]:
    """Take datagrams on a server, and answer none."""
    with server.entered():
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with opened:
        opened.bind(("", port))
        yield
