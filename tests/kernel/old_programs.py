"""Programs that keep an IPVS table, each with a service of two web servers: keepalived, ldirectord, and mon.

They run on a director as Debian packages them, and end as docs/migrate.md says.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from signal import Signals

from lab.netns import Namespace
from lab.wait import wait_until
from tests.keepalived import Keepalived, Parts
from tests.processes import children, signal_all
from tests.ready_made.monitors import monitor_environment
from tests.ready_made.servers import program, unpacked

VIP, SERVERS = "192.0.2.100", ("198.51.100.11", "198.51.100.12")

ENDS_WITHIN_S = 60.0
"""How long a program may take to end. ldirectord ends its round first."""


class Running:
    """One program that runs on a director, with its output in a file."""

    def __init__(self, director: Namespace, folder: Path) -> None:
        self._director = director
        self._output = folder / "old-program.log"
        self._process: subprocess.Popen[str] | None = None

    def start(self, command: Sequence[str | Path]) -> None:
        with self._output.open("a", encoding="utf-8") as output:
            self._process = self._director.popen(
                [str(word) for word in command], stdout=output, stderr=output, env=monitor_environment()
            )

    def output(self) -> str:
        """Return what it has written so far."""
        return self._output.read_text(encoding="utf-8")

    def send(self, number: Signals) -> None:
        """Send a signal to the program itself."""
        self._alive().send_signal(number)

    def end(self, number: Signals) -> None:
        """Send a signal to the program itself, and wait until it has ended."""
        process = self._alive()
        process.send_signal(number)
        process.wait(ENDS_WITHIN_S)

    def kill(self) -> None:
        """Kill it and its children, if it runs. None of them sees another one die, because all stand still before."""
        if self._process is not None and self._process.poll() is None:
            pids = (self._process.pid, *children(self._process.pid))
            for number in (Signals.SIGSTOP, Signals.SIGKILL):
                signal_all(pids, number)
            self._process.wait(ENDS_WITHIN_S)

    def _alive(self) -> subprocess.Popen[str]:
        assert self._process is not None
        assert self._process.poll() is None, self.output()
        return self._process


_KEEPALIVED_SERVER = """
    real_server {address} 80 {{
        weight 1
        HTTP_GET {{
            url {{
                path /healthz
                status_code 200
            }}
            connect_timeout 10
            retry 1
            delay_before_retry 1
        }}
    }}"""


class OldKeepalived:
    """keepalived with virtual servers only. It empties the table at a stop, unless it was started with `-I`."""

    def __init__(self, director: Namespace, folder: Path) -> None:
        servers = "".join(_KEEPALIVED_SERVER.format(address=server) for server in SERVERS)
        self._running = Keepalived(
            director,
            folder,
            f"virtual_server {VIP} 80 {{\n    delay_loop 1\n    lvs_sched rr\n    lvs_method NAT\n"
            f"    protocol TCP\n{servers}\n}}\n",
            Parts.CHECKERS,
        )
        self.words = ("keepalived", str(self._running.file))

    def start(self) -> None:
        self._running.start()

    def leave(self) -> None:
        self._running.kill()

    def start_again(self) -> None:
        self._running.start("--dont-release-ipvs")

    def end(self, number: Signals = Signals.SIGTERM) -> None:
        self._running.end(number)

    def output(self) -> str:
        return self._running.log

    def kill(self) -> None:
        self._running.kill()


_RELOADED = "Reloading Linux Director Daemon config on signal"
"""ldirectord logs this before it reads its file again."""


class Ldirectord:
    """ldirectord in the foreground. It removes its services at a stop, unless its file says `cleanstop=no`."""

    def __init__(self, director: Namespace, folder: Path) -> None:
        self._running = Running(director, folder)
        self._file = folder / "ldirectord.cf"
        servers = "".join(f"\treal={server}:80 masq 1\n" for server in SERVERS)
        self._file.write_text(
            "checktimeout=10\ncheckinterval=2\nquiescent=no\nsupervised=yes\n\n"
            f"virtual={VIP}:80\n{servers}\tservice=http\n\tscheduler=rr\n\tprotocol=tcp\n\tchecktype=negotiate\n"
            '\trequest="healthz"\n\treceive="ok"\n',
            encoding="ascii",
        )
        self.words = ("ldirectord", str(self._file))

    def start(self) -> None:
        self._running.start([program("perl"), unpacked("sbin/ldirectord"), self._file, "start"])

    def leave(self) -> None:
        self._file.write_text("cleanstop=no\n" + self._file.read_text(encoding="ascii"), encoding="ascii")
        self._running.send(Signals.SIGHUP)
        # A stop that comes before the reload still removes the services.
        wait_until(lambda: _RELOADED in self._running.output(), timeout_s=ENDS_WITHIN_S, what=self._running.output)
        self._running.end(Signals.SIGTERM)

    def start_again(self) -> None:
        self.start()

    def end(self, number: Signals = Signals.SIGTERM) -> None:
        """Send a signal to its main process alone, and wait until that has ended. systemd stops it with SIGTERM."""
        self._running.end(number)

    def output(self) -> str:
        return self._running.output()

    def kill(self) -> None:
        self._running.kill()


class Mon:
    """mon with its http.monitor, and the script of the article that edits the table."""

    def __init__(self, director: Namespace, folder: Path, table: Path) -> None:
        self._running = Running(director, folder)
        self._folder = folder
        self._log = folder / "test.alert.log"
        (folder / "alert.d").mkdir()
        (folder / "state").mkdir()
        (folder / "auth.cf").touch()
        alert = folder / "alert.d" / "test.alert"
        alert.write_text(
            "#!/bin/sh\n"
            "# $Id: test.alert,v 2004/06/09 05:18:07 trockij Exp $\n"
            f'#echo "`date` $*" >> {self._log}\n\n'
            'if [ "$9" = "-u" ]; then\n'
            f'   echo "`date` Real Server $6 is UP" >> {self._log}\n'
            f"   ipvsadm -a -t {VIP}:80 -r $6:80 -m\n"
            "else\n"
            f'   echo "`date` Real Server $6 is DOWN" >> {self._log}\n'
            f"   ipvsadm -d -t {VIP}:80 -r $6:80\n"
            "fi\n",
            encoding="ascii",
        )
        alert.chmod(0o755)
        monitors = unpacked("lib/mon/mon.d/http.monitor").parent
        groups = "".join(
            f"hostgroup server{number} {server}\n\nwatch server{number}\n    service http\n        interval 5s\n"
            "        monitor http.monitor -p 80 -t 20 -u /healthz\n        period wd {Sun-Sat}\n"
            "            alert test.alert\n            upalert test.alert\n\n"
            for number, server in enumerate(SERVERS, 1)
        )
        file = folder / "mon.cf"
        file.write_text(
            f"cfbasedir = {folder}\nalertdir = {folder}/alert.d\nmondir = {monitors}\nstatedir = {folder}/state\n"
            f"logdir = {folder}/state\npidfile = {folder}/mon.pid\nmaxprocs = 20\nhistlength = 100\n\n{groups}",
            encoding="ascii",
        )
        self.words = ("mon", str(file), "--table", str(table))

    def start(self) -> None:
        folder = self._folder
        self._running.start(
            [program("perl"), unpacked("sbin/mon"), "-c", self.words[1], "-b", folder, "-A", folder / "auth.cf"]
        )

    def told(self) -> str:
        """Return what the script has written to its log."""
        return self._log.read_text(encoding="utf-8")

    def leave(self) -> None:
        self._running.end(Signals.SIGTERM)

    def start_again(self) -> None:
        self.start()

    def output(self) -> str:
        return self._running.output()

    def kill(self) -> None:
        self._running.kill()
