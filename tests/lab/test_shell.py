"""The prompt in the lab has every command that its greeting names."""

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from lab import shell
from lab.topology import Topology


def test_every_command_that_is_named_is_there(tmp_path: Path) -> None:
    machines = [SimpleNamespace(name=name) for name in ("client", "director", "rs1", "rs2")]
    topology = cast("Topology", SimpleNamespace(machines=machines, director=machines[1]))
    file = tmp_path / "rc"
    file.write_text(shell._rc(topology, [], tmp_path / "config.toml"))
    greeting = shell.BANNER.format(client="client", director="director", vip="192.0.2.100", servers="")
    lines = re.findall(r"^    (\S.*?)  +\S", greeting, re.MULTILINE)
    named = {command.split()[0] for line in lines for command in line.split(", ")} - {"exit"}
    assert {"status", "table"} <= named
    asked = subprocess.run(
        ["bash", "-c", f"source {file}; declare -F {' '.join(sorted(named))}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.split() == sorted(named)
