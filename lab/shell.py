"""Opens a prompt in the lab while the network, the web servers and the daemon run. `exit` takes everything down."""

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

from lab import page
from lab.daemon import Daemon, program
from lab.host import REPOSITORY
from lab.nginx import Nginx
from lab.topology import Topology

BANNER = """
  {client} ---- {vip} on {director} ---- {servers}

    client curl http://{vip}/     ask the virtual service: the servers answer in turn
    director ipvsadm -Ln                 the kernel's table; any command runs on any machine this way
    status                               the verdict on each real server (also: status --watch)
    table                                the kernel's table beside the wanted one (also: table --stats)
    follow                               its log, live; Ctrl-C ends it
    die rs1, serve rs1                   kill nginx on rs1; start it again
    hang rs1, resume rs1                 suspend nginx on rs1: it accepts and never answers; let it continue
    director ipvsadm -C                  empty the table by hand
    exit                                 leave, and take everything down
"""


def main() -> None:
    """Build the lab, and keep it until the user leaves the prompt."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shell-")))
        print("Building the lab and starting lvs-healthd ...", flush=True)
        topology = stack.enter_context(Topology.nat(servers=2))
        web = [stack.enter_context(Nginx.serving(server)) for server in topology.servers]
        configuration, url = stack.enter_context(page.offered(topology, folder))
        daemon = Daemon(topology.director, configuration)
        daemon.start()
        stack.callback(daemon.stop)
        (folder / "rc").write_text(_rc(topology, web, configuration), encoding="utf-8")
        print(
            BANNER.format(
                client=topology.client.name,
                vip=topology.vip,
                director=topology.director.name,
                servers=", ".join(f"{server.name} {server.address}" for server in topology.servers),
            ),
            flush=True,
        )
        if url:
            print(f"  the status page: {url}\n", flush=True)
        subprocess.run(["bash", "--rcfile", str(folder / "rc"), "-i"], check=False, cwd=REPOSITORY, env=os.environ)


def _rc(topology: Topology, web: list[Nginx], configuration: Path) -> str:
    """Return the shell's start-up file. It defines each machine's name as a command, and the commands in `BANNER`."""
    machines = "\n".join(f'{machine.name}() {{ ip netns exec {machine.name} "$@"; }}' for machine in topology.machines)
    folders = " ".join(f"[{nginx.server.name}]={nginx.folder}" for nginx in web)
    healthd = f"ip netns exec {topology.director.name} {program()[0]}"
    return f"""PS1='lab# '
{machines}
declare -A nginx=({folders})
signal_nginx() {{ local master; master=$(< "${{nginx[$2]}}/pid") && kill "-$1" "$master" $(pgrep -P "$master"); }}
die() {{ signal_nginx KILL "$1"; }}
hang() {{ signal_nginx STOP "$1"; }}
resume() {{ signal_nginx CONT "$1"; }}
serve() {{ (ip netns exec "$1" nginx -p "${{nginx[$1]}}" -e error.log -c nginx.conf &); }}
status() {{ {healthd} status --config {configuration} "$@"; }}
table() {{ {healthd} table --config {configuration} "$@"; }}
follow() {{ tail -n 20 -f {configuration.with_name("log")}; }}
"""


if __name__ == "__main__":
    main()
