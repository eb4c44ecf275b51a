"""A director that uses the configurations of examples/ as they stand, and servers on the machines that these name."""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tomli
import tomli_w

from lab.daemon import Daemon
from lab.netns import Namespace
from lab.topology import Topology
from lab.wait import wait_until
from lvs_healthd.config.basics import Protocol
from lvs_healthd.config.load import load
from lvs_healthd.config.model import Service
from tests.kernel.verbs import run_here
from tests.ready_made.servers import Server, running

EXAMPLES = Path(__file__).parents[2] / "examples"
IN_SERVICE_S = 60.0
"""How long the servers of an example may take to be in the table, seconds. Some checks probe only every 5 s."""


class Director:
    """The daemon on the director. It gets one example after another, by reloads.

    env: what the daemon's environment has in addition.
    """

    def __init__(self, topology: Topology, folder: Path, env: dict[str, str] | None = None) -> None:
        self.topology = topology
        self._folder = folder
        self._file = folder / "config.toml"
        self._used: tuple[str, ...] = ()
        self.daemon = Daemon(topology.director, self._file, env=env)

    def use(self, *names: str) -> None:
        """Use these examples, and no other."""
        if names == self._used:
            return
        self._file.write_text(tomli_w.dumps(_merged(names, self._folder)), encoding="utf-8")
        if self._used:
            self.daemon.reload()
        else:
            self.daemon.start()
        self._used = names

    def order(self, *words: str) -> None:
        """Run a verb of the command line, which must succeed."""
        status, out, err = run_here(*words, "--config", str(self._file))
        assert status == 0, out + err

    def found(self) -> set[str]:
        """Return what the doctor finds in what is used now, by name. A test that fails shows all of it."""
        file = self._folder / "doctor.toml"
        document = _merged(self._used, self._folder)
        document["ipvs"]["netns"] = self.topology.director.name
        file.write_text(tomli_w.dumps(document), encoding="utf-8")
        _, out, err = run_here("doctor", "--json", "--config", str(file))
        assert out, err
        sys.stdout.write(out)
        return {each["name"] for each in json.loads(out)["findings"]}

    def ready(self, name: str) -> None:
        """Wait until all real servers of an example are in the kernel's table and may serve."""
        lines = [
            f"-a {_identity(service)} -r {server.endpoint} "
            for service in load(EXAMPLES / name).services
            for server in service.real_servers
        ]

        def is_so() -> bool:
            serving = [line for line in self.saved().splitlines() if not line.endswith("-w 0")]
            return all(any(line.startswith(each) for line in serving) for each in lines)

        wait_until(
            is_so,
            timeout_s=IN_SERVICE_S,
            what=lambda: f"{lines} in {self.saved()} {self.daemon.lines()[-10:]}",
        )

    def saved(self) -> str:
        """Return the kernel's table, as `ipvsadm -Sn` prints it."""
        return self.topology.ipvsadm.saved()

    def until(self, words: str, *, absent: bool = False) -> None:
        """Wait until the kernel's table has these words, or no longer has them."""
        wait_until(
            lambda: (words in self.saved()) is not absent,
            timeout_s=IN_SERVICE_S,
            what=lambda: f"{words!r} in {self.saved()} {self.daemon.lines()[-10:]}",
        )

    def connections(self) -> dict[int, tuple[str, int]]:
        """Return the server of each connection, and the minutes until it is forgotten, by the client's port."""
        found = {}
        for line in self.topology.director.run(["ipvsadm", "-Lnc"]).stdout.splitlines()[2:]:
            _, expires, _, client, _, server = line.split()[:6]
            found[int(client.rpartition(":")[2])] = (server, int(expires.partition(":")[0]))
        return found


def _identity(service: Service) -> str:
    """Return what a service is in `ipvsadm -Sn`."""
    if service.endpoint is None:
        return f"-f {service.fwmark}"
    return f"{'-u' if service.protocol is Protocol.UDP else '-t'} {service.endpoint}"


def _merged(names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Return one configuration that has the services and settings of several examples."""
    own = {"listen": "", "control": f"{folder}/control.sock", "state": f"{folder}/state.json", "resync": "2s"}
    own["reload_guard"] = "100%"  # one example after another means that all servers of the one before leave
    whole: dict[str, Any] = {"daemon": own, "ipvs": {}, "service": []}
    for name in names:
        document = tomli.loads((EXAMPLES / name).read_text(encoding="utf-8"))
        whole["service"] += document.pop("service")
        for table, values in document.pop("ipvs", {}).items():
            known = whole["ipvs"].setdefault(table, {})
            assert all(known.get(key, value) == value for key, value in values.items()), f"{name} does not fit {names}"
            known.update(values)
        if "defaults" in document:
            assert len(names) == 1, f"{name} has defaults, which would count for others too: {names}"
            whole["defaults"] = document.pop("defaults")
        assert not document, f"{name} has more than this function merges: {document}"
    return whole


@contextlib.contextmanager
def running_on(machine: Namespace, command: Sequence[str | Path], folder: Path) -> Iterator[Server]:
    """Run a server that Debian packages on a machine of the lab. It keeps its data in a folder, which is made."""
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        with machine.entered():
            server = stack.enter_context(running(command, folder))
        yield server
