"""Runs the monitors of mon as checks: unchanged, as Debian packages them, installed or only unpacked."""

import atexit
import contextlib
import functools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.load import parse
from tests.ready_made.servers import ROOTS, libraries, search_path, unpacked

PAGE = Path(__file__).parents[2] / "docs" / "checks.md"

AS_SYSTEMD = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&"$0"'
"""Passes a socket to a program as systemd does. `$0` is the socket's descriptor."""


def monitor_environment(*, with_hostname: bool = True) -> dict[str, str]:
    """Return the variables that a monitor needs to find what is only unpacked.

    with_hostname: whether Perl also finds the file of docs/checks.md that some monitors need.
    """
    parts = ("share/perl5", "lib/*/perl5/*", "lib/*/perl-base")
    modules = [str(found) for root in ROOTS for part in parts for found in sorted((root / "usr").glob(part))]
    if with_hostname:
        modules.insert(0, str(_documented_module()))
    return {"PERL5LIB": os.pathsep.join(modules), "PATH": search_path(), "LD_LIBRARY_PATH": libraries()}


@functools.cache
def _documented_module() -> Path:
    """Write the file of docs/checks.md into a folder for this session, and return the folder."""
    (text,) = re.findall(r"```perl\n(.*?)```", PAGE.read_text(), re.DOTALL)
    folder = Path(tempfile.mkdtemp(prefix="perl"))
    atexit.register(shutil.rmtree, folder)
    (folder / "Sys").mkdir()
    (folder / "Sys" / "Hostname.pm").write_text(text)
    return folder


def monitor_path(name: str) -> str:
    """Return the path of a monitor, such as that of http.monitor."""
    return str(unpacked(f"lib/mon/mon.d/{name}"))


def monitors(
    helper: Path,
    command: Sequence[str],
    *servers: str,
    per: str = "server",
    timeout: str = "5s",
    name: str = "exec",
    environment: Mapping[str, str] | None = None,
) -> list[AnyCheck]:
    """Return the checks of a service whose servers a program decides about by mon's convention.

    helper: the socket of the process that runs programs.
    command: the program and its arguments.
    servers: addresses and ports.
    environment: the variables that the program needs; None for those of a monitor of mon.
    """
    own = monitor_environment() if environment is None else environment
    variables = ", ".join(f"{name} = {json.dumps(value)}" for name, value in own.items())
    text = f"""
[daemon]
exec_socket = "{helper}"
[[service]]
name = "web"
address = "127.0.0.100:80"
check = {{ type = "exec", name = "{name}", command = {json.dumps(list(command))}, convention = "mon", per = "{per}",
          timeout = "{timeout}", environment = {{ {variables} }} }}
real_server = {json.dumps(servers)}
"""
    text = text.replace(",\n          timeout", ", timeout")  # an inline table is one line
    return [each for server in parse(text, "/none/config.toml").services[0].real_servers for each in server.checks]


@contextlib.contextmanager
def unit_for_programs(folder: Path) -> Iterator[Path]:
    """Run the process for programs as its unit does, with this user's rights, and yield its socket."""
    path = folder / "exec.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        command = (sys.executable, "-P", "-m", "lvs_healthd.programs.helper", "--folder", str(folder / "files"))
        with subprocess.Popen(
            ["bash", "-c", AS_SYSTEMD, str(listener.fileno()), *command], pass_fds=[listener.fileno()]
        ) as process:
            try:
                listener.close()  # the process has its own copy
                yield path
            finally:
                process.terminate()
