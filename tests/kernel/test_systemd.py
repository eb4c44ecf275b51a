"""The unit as it is shipped does what docs/systemd.md promises, under a real systemd on the lab's director."""

import json
import os
import re
import shutil
import signal
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.host import REPOSITORY
from lab.nginx import Nginx
from lab.systemd import UNIT, Systemd, systemd_version
from lab.topology import Topology
from lab.wait import wait_until
from lvs_healthd.runtime.capabilities import CAP_NET_RAW
from tests.kernel.main_job import ports_towards_servers

CONFIGURATION = "/etc/lvs-healthd/config.toml"
PROGRAM = ("env", "PYTHONPATH=/opt/lvs-healthd/checkout/src", "/opt/lvs-healthd/.venv/bin/lvs-healthd")
RS1, RS2 = "198.51.100.11:80", "198.51.100.12:80"
TIMEOUT_S = 120.0
NOTIFY_RELOAD_SINCE = 253
"""The version of systemd that brought Type=notify-reload."""

BASIC = """
[daemon]
resync = "2s"

[defaults.check]
interval = "1s"
timeout = "2s"
rise = 1
fall = 3

[[service]]
name = "web"
address = "192.0.2.100:80"
check = { type = "http", path = "/healthz" }
real_server = [{ address = "198.51.100.11:80", weight = 3 }, "198.51.100.12:80"]
"""

PRIVILEGED = """
[ipvs.sysctl]
expire_nodest_conn = true

[[service]]
name = "shielded"
address = "192.0.2.100:8080"
forward = "fullnat"
synproxy = true
check = { type = "http", path = "/healthz", port = 80 }
real_server = ["198.51.100.11:80"]
"""

PAGE = (REPOSITORY / "docs" / "systemd.md").read_text(encoding="utf-8")


WITH_A_PROGRAM = """
[[service]]
name = "programs"
address = "192.0.2.100:8081"
real_server = ["198.51.100.11:8081"]

[service.check]
type = "exec"
command = ["/bin/sh", "-c", "echo $(id -un) $(grep CapEff /proc/self/status | cut -f 2)"]
convention = "keepalived"
interval = "1s"
timeout = "20s"
"""
EXEC_SOCKET = 'exec_socket = "/run/lvs-healthd-exec.sock"'


def documented(setting: str, *, language: str = r"\w*") -> str:
    """Return the documented drop-in, or other text of a language, that has this setting."""
    found = [text for text in re.findall(rf"(?s)```{language}\n(.*?)```", PAGE) if setting in text]
    assert len(found) == 1
    return "".join(f"{line.strip()}\n" for line in found[0].splitlines())


@pytest.fixture(scope="module")
def machine(nat: Topology, web: tuple[Nginx, ...]) -> Iterator[Systemd]:
    del web
    nat.ipvsadm.clear()
    with Systemd.on(nat.director) as machine:
        yield machine
    nat.ipvsadm.clear()
    nat.director.run(["nft", "flush ruleset"])


@pytest.fixture(autouse=True)
def stopped_and_plain(machine: Systemd) -> Iterator[None]:
    """Begin each test with the unit as shipped, the plain configuration, and no daemon."""
    configure(machine, BASIC)
    yield
    machine.systemctl("stop", UNIT)
    machine.drop_in("")


def configure(machine: Systemd, text: str) -> None:
    file = machine.file(CONFIGURATION)
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)  # a write to a FIFO would wait for a reader
    file.write_text(text, encoding="utf-8")


def has_both(nat: Topology, *, weight: int = 3) -> bool:
    table = nat.ipvsadm.saved()
    return f"-r {RS1} -m -w {weight}" in table and f"-r {RS2} -m -w 1" in table


def until_both(nat: Topology, machine: Systemd, *, weight: int = 3) -> None:
    wait_until(lambda: has_both(nat, weight=weight), timeout_s=TIMEOUT_S, what=machine.journal)


def until_status(machine: Systemd, text: str) -> None:
    """Wait until the status line of `systemctl status` contains this text."""
    wait_until(lambda: text in machine.show("StatusText"), timeout_s=TIMEOUT_S, what=machine.journal)


@pytest.mark.long
def test_the_unit_serves_reloads_tells_and_leaves_the_table_when_stopped(nat: Topology, machine: Systemd) -> None:
    machine.systemctl("start", UNIT)
    assert machine.show("ActiveState") == "active"
    until_both(nat, machine)

    # The daemon has its own user and one capability, and cannot get more privileges.
    pid = machine.show("MainPID")
    process = machine.run(["cat", f"/proc/{pid}/status"]).stdout
    fields = dict(line.split(":\t", 1) for line in process.splitlines())
    uid = machine.run(["id", "--user", "lvs-healthd"]).stdout.strip()
    assert set(fields["Uid"].split()) == {uid} != {"0"}
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 1 << 12
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")

    until_status(machine, "enforce: 2 of 2 ")
    assert machine.run([*PROGRAM, "status"]).stdout.count("status 200") == 2

    configure(machine, BASIC.replace("weight = 3", "weight = 7"))
    machine.systemctl("reload", UNIT)
    until_both(nat, machine, weight=7)

    configure(machine, BASIC.replace("weight = 3", "weight = -3"))
    machine.systemctl("reload", UNIT)
    until_status(machine, "RELOAD REJECTED")
    assert machine.show("ActiveState") == "active"
    assert has_both(nat, weight=7)
    assert "config.rejected" in machine.journal("--priority=err")
    assert "daemon.started" not in machine.journal("--priority=warning")

    machine.systemctl("stop", UNIT)
    assert machine.show("Result") == "success"
    assert has_both(nat, weight=7)


LARGE = """
import sys
from lvs_healthd.log.journal import SOCKET, JournalWriter, is_journal
from lvs_healthd.log.writer import LineWriter

assert is_journal(sys.stderr)
writer = JournalWriter(LineWriter(sys.stderr), SOCKET)
writer.write({"level": "error", "event": "large", "service": "web", "exception": "x" * 300_000})
writer.close()
sys.exit(writer.unlabelled)
"""
"""Writes a line that is too large for a datagram, and ends at once."""


@pytest.mark.long
def test_the_journal_finds_lines_by_service_server_and_event(nat: Topology, machine: Systemd) -> None:
    other = BASIC[BASIC.index("[[service]]") :].replace('"web"', '"other"').replace("100:80", "100:81")
    configure(machine, BASIC + other)
    machine.file("/etc/lvs-healthd/large.py").write_text(LARGE, encoding="utf-8")
    # In the sandbox of the daemon.
    machine.drop_in("[Service]\nExecStartPre=/opt/lvs-healthd/.venv/bin/python /etc/lvs-healthd/large.py\n")
    nat.ipvsadm.clear()
    machine.systemctl("start", UNIT)
    invocation = f"_SYSTEMD_INVOCATION_ID={machine.show('InvocationID')}"  # leaves out what other tests have left
    until_both(nat, machine)
    until_status(machine, "enforce: 4 of 4 ")
    machine.systemctl("stop", UNIT)

    def entries(*matches: str) -> list[dict[str, str]]:
        machine.run(["journalctl", "--sync"])
        command = ["journalctl", "--output=json", "--all", "--unit", UNIT, invocation, *matches]
        said = machine.run(command, check=False).stdout
        return [json.loads(line) for line in said.splitlines()]

    everything = [
        json.loads(each["MESSAGE"]) for each in entries("SYSLOG_IDENTIFIER=lvs-healthd", "_TRANSPORT=journal")
    ]
    assert {"daemon.started", "daemon.stopping"} <= {line["event"] for line in everything}
    assert entries("_TRANSPORT=stdout", "SYSLOG_IDENTIFIER=lvs-healthd") == []
    for server in (RS1, RS2):
        found = entries("LVS_SERVICE=web", f"LVS_SERVER={server}", "LVS_EVENT=table.changed")
        assert [json.loads(each["MESSAGE"])["operation"] for each in found] == ["add_server"]
        assert [each["PRIORITY"] for each in found] == ["6"]
    of_web = [json.loads(each["MESSAGE"]) for each in entries("LVS_SERVICE=web")]
    assert of_web == [line for line in everything if line.get("service") == "web"]
    (large,) = entries("LVS_EVENT=large", "PRIORITY=3")
    assert len(json.loads(large["MESSAGE"])["exception"]) == 300_000


@pytest.mark.long
def test_the_sandbox_lets_the_daemon_watch_the_interfaces(nat: Topology, machine: Systemd) -> None:
    machine.systemctl("start", UNIT)
    until_both(nat, machine)
    for command in ports_towards_servers(nat, "down"):
        nat.director.run(command.split())
    try:
        what = "our interface servers has no carrier"
        wait_until(lambda: what in machine.journal("--priority=err"), timeout_s=TIMEOUT_S, what=machine.journal)
    finally:
        for command in ports_towards_servers(nat, "up"):
            nat.director.run(command.split())
    wait_until(lambda: "network.recovered" in machine.journal(), timeout_s=TIMEOUT_S, what=machine.journal)
    assert "network.error" not in machine.journal()
    assert has_both(nat)


@pytest.mark.long
def test_probe_workers_give_up_the_units_capability(nat: Topology, machine: Systemd) -> None:
    configure(machine, BASIC.replace("[daemon]\n", "[daemon]\nprobe_workers = 2\n"))
    machine.systemctl("start", UNIT)
    until_both(nat, machine)
    until_status(machine, "enforce: 2 of 2 ")
    # The servers may be up from the table that was found, before the workers have begun. A slow one is replaced.
    pid = machine.show("MainPID")
    wait_until(lambda: _workers_hold_none(machine, pid, 2), timeout_s=TIMEOUT_S, what=machine.journal)
    assert "keeps its capabilities" not in machine.journal()


def until_reason(machine: Systemd, service: str, reason: str) -> None:
    """Wait until a service's only server has this reason."""
    wait_until(
        lambda: reason in machine.run([*PROGRAM, "status", service], check=False).stdout,
        timeout_s=TIMEOUT_S,
        what=lambda: machine.journal("--unit", "lvs-healthd-exec.service"),
    )


@pytest.mark.long
def test_programs_run_in_the_daemon_s_sandbox_as_its_user(machine: Systemd) -> None:
    configure(machine, BASIC + WITH_A_PROGRAM)
    machine.systemctl("start", UNIT)
    until_reason(machine, "programs", "exit status 0: lvs-healthd 0000000000000000")
    assert "exec.error" not in machine.journal()


@pytest.mark.long
def test_programs_run_as_a_user_of_their_own_with_the_documented_units(machine: Systemd) -> None:
    commands = documented("lvs-healthd-exec.socket", language="sh").splitlines()
    machine.systemctl(*commands[-1].replace("enable --now", "start").split()[1:])
    configure(machine, (BASIC + WITH_A_PROGRAM).replace("[daemon]\n", f"[daemon]\n{EXEC_SOCKET}\n"))
    assert f"`{EXEC_SOCKET}`" in PAGE
    machine.systemctl("start", UNIT)
    until_reason(machine, "programs", "exit status 0: lvs-healthd-exec 0000000000000000")
    machine.systemctl("stop", "lvs-healthd-exec.socket", "lvs-healthd-exec.service")
    unsure = '"event":"check.unsure","service":"programs"'
    wait_until(lambda: unsure in machine.journal(), timeout_s=TIMEOUT_S, what=machine.journal)
    assert '"event":"real_server.down"' not in machine.journal()


CAP_NET_RAW_OF_A_FILE = struct.pack("<5I", 0x02000001, 1 << CAP_NET_RAW, 0, 0, 0)
"""The attribute `security.capability` of Debian's fping (vfs_cap_data of linux/capability.h): revision 2, in force from
the start."""

FPING = "/usr/local/bin/fping"


@pytest.mark.long
def test_fping_works_in_the_unit_for_programs_with_the_documented_drop_in_and_nowhere_else(machine: Systemd) -> None:
    servers = REPOSITORY / ".cache" / "servers" / "usr"
    fping = machine.file(FPING)
    fping.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(servers / "bin" / "fping", fping)
    os.setxattr(fping, "security.capability", CAP_NET_RAW_OF_A_FILE)
    keys = f'command = ["{servers}/lib/mon/mon.d/fping.monitor"]\nenvironment = {{ PATH = "/usr/local/bin:/usr/bin" }}'
    text = BASIC + re.sub("command = .*", keys, WITH_A_PROGRAM).replace("keepalived", "mon")
    configure(machine, text)
    machine.systemctl("start", UNIT)
    until_reason(machine, "programs", "can't create socket")
    machine.systemctl("stop", UNIT)
    drop_in = machine.file("/run/units/lvs-healthd-exec.service.d")
    drop_in.mkdir()
    try:
        (drop_in / "fping.conf").write_text(documented("# For fping."), encoding="utf-8")
        machine.systemctl("daemon-reload")
        machine.systemctl("start", "lvs-healthd-exec.socket")
        configure(machine, text.replace("[daemon]\n", f"[daemon]\n{EXEC_SOCKET}\n"))
        machine.systemctl("start", UNIT)
        until_reason(machine, "programs", "exit status 0: start time: ")
    finally:
        shutil.rmtree(drop_in)
        machine.systemctl("daemon-reload")
        machine.systemctl("stop", "lvs-healthd-exec.socket", "lvs-healthd-exec.service")


@pytest.mark.long
def test_pings_need_the_documented_drop_in(machine: Systemd) -> None:
    ping = '[[service]]\nname = "host"\nfwmark = 9\nforward = "dr"\ncheck = "ping"\nreal_server = ["198.51.100.11"]\n'
    configure(machine, BASIC + ping)
    machine.systemctl("start", UNIT)
    until_reason(machine, "host", "not permitted to send pings")
    machine.drop_in(documented("CapabilityBoundingSet=CAP_NET_RAW"))
    machine.systemctl("restart", UNIT)
    until_reason(machine, "host", "echo reply")


def _workers_hold_none(machine: Systemd, daemon: str, workers: int) -> bool:
    """Return whether a daemon has so many workers, and each holds no capability in any set but the bounding one."""
    statuses = machine.run(
        ["sh", "-c", f"for child in $(cat /proc/{daemon}/task/{daemon}/children); do cat /proc/$child/status; done"],
        check=False,
    ).stdout
    fields = [line.split(":\t", 1) for line in statuses.splitlines() if line.startswith("Cap")]
    sets = ("CapInh", "CapPrm", "CapEff", "CapAmb")
    held = [int(value, 16) for name, value in fields if name in sets]
    return len(held) == len(sets) * workers and not any(held)


@pytest.mark.long
def test_a_daemon_that_hangs_is_replaced_and_the_table_is_right_again(nat: Topology, machine: Systemd) -> None:
    machine.drop_in("[Service]\nWatchdogSec=8s\n")
    machine.systemctl("start", UNIT)
    until_both(nat, machine)
    before = machine.show("MainPID")

    machine.run(["kill", f"-{signal.SIGSTOP.value}", before])
    nat.ipvsadm("-d", "-t", "192.0.2.100:80", "-r", RS1)

    wait_until(lambda: machine.show("MainPID") not in {before, "0"}, timeout_s=TIMEOUT_S, what=machine.journal)
    until_both(nat, machine)
    assert machine.show("NRestarts") == "1"


@pytest.mark.long
def test_with_the_documented_drop_in_a_reload_returns_when_it_is_done(nat: Topology, machine: Systemd) -> None:
    if systemd_version() < NOTIFY_RELOAD_SINCE:
        pytest.skip(f"systemd {systemd_version()} has no Type=notify-reload: it came with {NOTIFY_RELOAD_SINCE}")
    machine.drop_in(documented("notify-reload"))
    machine.systemctl("start", UNIT)
    until_both(nat, machine)
    pid = machine.show("MainPID")

    # While the daemon waits for a slow file, the reload is not complete, and systemctl waits too.
    file = machine.file(CONFIGURATION)
    file.unlink()
    os.mkfifo(file)
    with ThreadPoolExecutor(1) as background:
        reload = background.submit(machine.systemctl, "reload", UNIT)
        wait_until(lambda: machine.show("SubState") == "reload-notify", timeout_s=TIMEOUT_S, what=machine.journal)
        assert not reload.done()
        file.write_text(BASIC.replace("weight = 3", "weight = 7"), encoding="utf-8")
        reload.result()
    assert machine.show("ActiveState") == "active"
    machine.run(["journalctl", "--sync"])
    assert "config.reloaded" in machine.journal()
    until_both(nat, machine, weight=7)

    # A rejected file ends the reload too. The same message tells systemd that the file was rejected.
    configure(machine, BASIC.replace("weight = 3", "weight = -3"))
    machine.systemctl("reload", UNIT)
    assert "RELOAD REJECTED" in machine.show("StatusText")
    assert machine.show("ActiveState") == "active"
    assert has_both(nat, weight=7)

    configure(machine, BASIC)
    machine.systemctl("reload", UNIT)
    assert "RELOAD REJECTED" not in machine.show("StatusText")
    until_both(nat, machine)
    assert (machine.show("MainPID"), machine.show("NRestarts")) == (pid, "0")


@pytest.mark.long
def test_settings_that_the_sandbox_forbids_are_told_and_the_documented_drop_in_allows_them(
    nat: Topology, machine: Systemd
) -> None:
    names = ["net.ipv4.vs.expire_nodest_conn", "net.ipv4.vs.conntrack", "net.netfilter.nf_conntrack_tcp_loose"]

    def values() -> list[str]:
        return nat.director.run(["sysctl", "--values", *names]).stdout.split()

    nat.director.run(["sysctl", "--write", *map("=".join, zip(names, "001", strict=True))])
    configure(machine, BASIC + PRIVILEGED)
    machine.systemctl("start", UNIT)
    until_status(machine, "SETTING ERROR")
    said = "{} = {}: /proc/sys is read-only here: give the unit ProtectKernelTunables=no (systemctl edit lvs-healthd)"
    for line in map(said.format, names, "110"):
        wait_until(lambda line=line: line in machine.journal(), timeout_s=TIMEOUT_S, what=machine.journal)  # type: ignore[misc]
    assert values() == ["0", "0", "1"]
    # Everything that the unit allows still works.
    until_both(nat, machine)
    wait_until(lambda: "192.0.2.100:8080" in nat.ipvsadm.saved(), timeout_s=TIMEOUT_S, what=machine.journal)
    assert "lvs_healthd" in nat.director.run(["nft", "list", "tables"]).stdout

    machine.drop_in(documented("ProtectKernelTunables"))
    machine.systemctl("restart", UNIT)
    wait_until(lambda: values() == ["1", "1", "0"], timeout_s=TIMEOUT_S, what=machine.journal)
    until_status(machine, "enforce: 3 of 3 ")
    assert "ERROR" not in machine.show("StatusText")


@pytest.mark.long
def test_the_documented_drop_in_lets_it_keep_the_table_of_another_network(machine: Systemd) -> None:
    inside = ["ip", "netns", "exec", "elsewhere"]
    machine.run(["ip", "netns", "add", "elsewhere"])
    machine.run([*inside, "ip", "link", "set", "lo", "up"])
    workers = BASIC.replace("[daemon]", "[daemon]\nprobe_workers = 2")  # a sandbox of theirs, too
    configure(machine, workers + '[ipvs]\nnetns = "elsewhere"\n')

    machine.drop_in(documented("RestrictNamespaces"))
    machine.systemctl("start", UNIT)

    wait_until(
        lambda: f"-r {RS2}" in machine.run([*inside, "ipvsadm", "-Sn"]).stdout,
        timeout_s=TIMEOUT_S,
        what=machine.journal,
    )
