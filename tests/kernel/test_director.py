"""Settings of the director beside the table, on the real kernel: set, left alone when in sync, repaired, given up."""

import functools
import os
import shlex
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from lab.netns import CommandError, Namespace
from lab.nginx import Nginx
from lab.topology import Topology
from lab.wait import wait_until
from lvs_healthd.config.ipvs import SYSCTL_KEYS
from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config
from lvs_healthd.director import aspects
from lvs_healthd.director.advice import CONN_MAX
from lvs_healthd.director.keeper import CALM_S, Keeper
from lvs_healthd.events.kinds import Event, SettingAdvice, SettingChanged, SettingDrift, SettingFailed
from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.reconcile.suspects import suspects
from lvs_healthd.runtime.lock import AlreadyRunningError, TableLock, lock_table
from lvs_healthd.runtime.netns import Netns

SERVICES = """
[[service]]
name = "web"
address = "192.0.2.100:80"
forward = "fullnat"
synproxy = true
check = "tcp"
real_server = ["198.51.100.11:8080", "198.51.100.12:8080", { address = "198.51.100.13", forward = "nat" }]

[[service]]
name = "web six"
address = "[2001:db8:1::100]:443"
synproxy = true
check = "tcp"
real_server = [{ address = "[2001:db8:2::11]", forward = "fullnat" }, "[2001:db8:2::12]"]

[[service]]
name = "dns"
address = "192.0.2.100-101:53"
protocol = ["udp", "tcp", "sctp"]
forward = "fullnat"
check = "tcp"
real_server = ["198.51.100.11-30"]
fallback = ["198.51.100.99"]

[[service]]
name = "all ports"
address = "192.0.2.101:0"
forward = "fullnat"
persistence = "5m"
check = { type = "tcp", port = 80 }
real_server = ["198.51.100.11", "198.51.100.9"]

[[service]]
name = "marked"
fwmark = 7
forward = "fullnat"
check = { type = "tcp", port = 80 }
real_server = ["198.51.100.11"]
"""

IPVS = """
[ipvs]
timeouts = { tcp = "10m", udp = "100s" }
[ipvs.sync.master]
interface = "clients"
syncid = 3
[ipvs.sync.backup]
interface = "servers"
syncid = 4
group = "ff02::81"
port = 9000
ttl = 2
maxlen = 1300
[ipvs.sysctl]
expire_nodest_conn = true
conn_reuse_mode = 0
sync_threshold = [4, 60]
"""

EVERYTHING = {
    "nftables inet lvs_healthd",
    "ipvs.timeouts.tcp",
    "ipvs.timeouts.udp",
    "ipvs.sync.master",
    "ipvs.sync.backup",
    "net.ipv4.vs.expire_nodest_conn",
    "net.ipv4.vs.conn_reuse_mode",
    "net.ipv4.vs.sync_threshold",
    "net.ipv4.vs.conntrack",
    "net.netfilter.nf_conntrack_tcp_loose",
}


class Bench:
    """A keeper of the settings in the director's namespace, which is not this process's."""

    def __init__(self, director: Namespace) -> None:
        self.director = director
        self.events: list[Event] = []
        self.netns = Netns(director.name)
        self.now = 0.0
        self.keeper = Keeper(aspects(self.netns), self.netns, self.events.append, clock=lambda: self.now)

    async def keep(self, config: Config) -> None:
        self.keeper.want(config, shadow=False)
        await self.keeper.turn()

    async def look(self) -> list[Event]:
        """Let the keeper check the settings once more, and return the events that this causes."""
        self.events.clear()
        await self.keeper.turn()
        return list(self.events)

    def set(self) -> set[str]:
        return {event.setting for event in self.events if isinstance(event, SettingChanged)}


def ip_netns(verb: str, namespace: Namespace) -> None:
    subprocess.run(["ip", "netns", verb, namespace.name], check=True)


def configured(text: str) -> Config:
    return parse(text, "config.toml")


@pytest.fixture(autouse=True)
async def clean(nat: Topology) -> AsyncIterator[None]:
    """Remove everything that a test leaves behind, except sysctls and timeouts."""
    yield
    nat.director.run(["nft", "flush ruleset"])
    for role in ("master", "backup"):
        nat.director.run(["ipvsadm", "--stop-daemon", role], check=False)


async def test_everything_is_set_and_then_left_alone(nat: Topology) -> None:
    bench = Bench(nat.director)
    await bench.keep(configured(IPVS + SERVICES))
    assert [event for event in bench.events if isinstance(event, SettingFailed)] == []
    assert bench.set() == EVERYTHING
    assert await bench.look() == []
    timeouts = nat.ipvsadm("-L", "--timeout")
    assert timeouts == "Timeout (tcp tcpfin udp): 600 120 100\n"
    daemons = nat.ipvsadm("-L", "--daemon")
    assert "master sync daemon (mcast=clients, syncid=3, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)" in daemons
    assert "backup sync daemon (mcast=servers, syncid=4, maxlen=1300, group=ff02::81, port=9000, ttl=2)" in daemons
    again = Bench(nat.director)  # the next run of the daemon finds it all as wanted
    await again.keep(configured(IPVS + SERVICES))
    assert again.events == []


VANDALS = {
    "ipvsadm --set 60 0 0": "ipvs.timeouts.tcp",
    "ipvsadm --stop-daemon master": "ipvs.sync.master",
    "sysctl -qw net.ipv4.vs.expire_nodest_conn=0": "net.ipv4.vs.expire_nodest_conn",
    "nft flush chain inet lvs_healthd postrouting": "nftables inet lvs_healthd",
    "nft insert rule inet lvs_healthd input accept": "nftables inet lvs_healthd",
    "nft add chain inet lvs_healthd mine": "nftables inet lvs_healthd",
    "nft flush ruleset": "nftables inet lvs_healthd",
}


async def test_what_somebody_else_changes_is_told_and_set_back(nat: Topology) -> None:
    bench = Bench(nat.director)
    await bench.keep(configured(IPVS + SERVICES))
    for command, setting in VANDALS.items():
        bench.now += 2 * CALM_S  # or it would be a fight
        nat.director.run(shlex.split(command))
        said = await bench.look()
        assert [event.setting for event in said if isinstance(event, SettingDrift)] == [setting], command
        (changed,) = [event for event in said if isinstance(event, SettingChanged)]
        assert (changed.setting, changed.reason) == (setting, "repair: somebody else changed it")
    assert await bench.look() == []


SYSCTLS = Path("/proc/sys/net/ipv4/vs")
OF_SCHEDULERS = {"lblc_expiration", "lblcr_expiration"}
"""They come and go with the schedulers."""

PLAIN = '[[service]]\naddress = "192.0.2.100:80"\ncheck = "tcp"\nreal_server = ["198.51.100.11"]\n'


def sysctl(director: Namespace, name: str, value: str | None = None) -> str | None:
    """Write a sysctl of IPVS, and return the value that is read afterwards; None if the kernel has no such sysctl."""
    if name not in director.run(["ls", str(SYSCTLS)]).stdout.split():
        return None
    if value is not None:
        director.run(["sysctl", "-qw", f"net.ipv4.vs.{name}={value}"])
    return director.run(["cat", str(SYSCTLS / name)]).stdout.strip()


def test_every_sysctl_of_this_kernel_can_be_configured(nat: Topology) -> None:
    there = set(nat.director.run(["ls", str(SYSCTLS)]).stdout.split())
    assert there - OF_SCHEDULERS <= SYSCTL_KEYS.keys()


NEWER = {
    "est_cpulist": ('"1,0"', "0-1"),
    "est_nice": ("-5", "-5"),
    "conn_lfactor": ("-3", "-3"),
    "conn_max": ("5000", "5000"),
    "svc_lfactor": ("2", "2"),
}
"""Linux 6.1 has none of these, 6.12 the first two."""


@pytest.mark.parametrize(("name", "written", "value"), [(name, *pair) for name, pair in NEWER.items()])
async def test_a_newer_sysctl_is_set_and_left_alone_or_said_to_be_missing(
    nat: Topology, name: str, written: str, value: str
) -> None:
    before = sysctl(nat.director, name)
    if name == "est_cpulist" and before is not None:
        sysctl(nat.director, name, "0")
        if os.cpu_count() == 1:  # there is only one value, which needs no write
            written, value = '"0"', "0"
    is_change = sysctl(nat.director, name) != value
    bench = Bench(nat.director)
    await bench.keep(configured(f"[ipvs.sysctl]\n{name} = {written}\n{PLAIN}"))
    if before is None:
        assert bench.keeper.last_error == f"net.ipv4.vs.{name} = {value}: this kernel has no such sysctl"
        return
    assert bench.keeper.last_error == ""
    assert bench.set() == ({f"net.ipv4.vs.{name}"} if is_change else set())
    assert await bench.look() == []
    assert sysctl(nat.director, name) == value
    sysctl(nat.director, name, before)


async def test_cpus_that_the_machine_lacks_are_told(nat: Topology) -> None:
    if sysctl(nat.director, "est_cpulist") is None:
        pytest.skip("this kernel has no est_cpulist")
    bench = Bench(nat.director)
    await bench.keep(configured(f'[ipvs.sysctl]\nest_cpulist = "0-8191"\n{PLAIN}'))
    assert bench.keeper.last_error == "net.ipv4.vs.est_cpulist = 0-8191: this machine does not have that many CPUs"


BOUNDS = {"conn_lfactor": (-8, 8), "conn_max": (0, 2**30), "est_nice": (-20, 19), "svc_lfactor": (-8, 8)}
"""As in the configuration (tests/config/test_ipvs.py)."""


@pytest.mark.parametrize(("name", "bounds"), BOUNDS.items())
def test_the_kernel_takes_what_is_within_bounds_and_nothing_else(
    nat: Topology, name: str, bounds: tuple[int, int]
) -> None:
    before = sysctl(nat.director, name)
    if before is None:
        pytest.skip(f"this kernel has no {name}")
    least, most = bounds
    for value in bounds:
        assert sysctl(nat.director, name, str(value)) == str(value)
    for value in (least - 1, most + 1):
        with pytest.raises(CommandError, match="Invalid argument"):
            sysctl(nat.director, name, str(value))
    sysctl(nat.director, name, before)


def connects(client: Namespace, vip: str) -> bool:
    """Return whether a new connection is served. False when nothing answers."""
    status = client.run(["curl", "-s", "-o", "/dev/null", "--max-time", "5", f"http://{vip}/"], check=False).returncode
    assert status in {0, 28}  # 28: time is over
    return status == 0


def connections_counted(topology: Topology) -> int:
    """Return the number of connections in the service's statistics, which are up to two seconds old."""
    line = topology.ipvsadm("-Ln", "--stats", "--exact", "-t", f"{topology.vip}:80").splitlines()[-2]
    return int(line.split()[2])


async def test_connections_beyond_the_limit_are_dropped_uncounted_and_the_limit_is_advised_on(
    nat: Topology, web: tuple[Nginx, ...]
) -> None:
    default = sysctl(nat.director, "conn_max")
    if default is None:
        pytest.skip("this kernel has no conn_max")
    assert default == str(CONN_MAX)
    vip = f"{nat.vip}:80"
    nat.ipvsadm("-A", "-t", vip, "-s", "rr")
    nat.ipvsadm("-a", "-t", vip, "-r", f"{nat.servers[0].address}:80", "-m")
    try:
        sysctl(nat.director, "conn_max", "1")
        bench = Bench(nat.director)
        await bench.keep(configured(PLAIN))
        assert [
            (event.setting, event.value)
            for event in bench.events
            if isinstance(event, SettingAdvice) and event.setting.endswith("conn_max")
        ] == [("net.ipv4.vs.conn_max", "1")]

        assert connects(nat.client, nat.vip)
        assert not connects(nat.client, nat.vip)  # the first has ended, and is remembered for two minutes
        sysctl(nat.director, "conn_max", default)
        assert connects(nat.client, nat.vip)
        wait_until(lambda: connections_counted(nat) >= 2, timeout_s=30, what="the statistics")
        assert connections_counted(nat) == 2

        # A persistence template counts as a connection, so the first client needs two.
        nat.ipvsadm("-D", "-t", vip)
        nat.ipvsadm("-A", "-t", vip, "-s", "rr", "-p", "60")
        nat.ipvsadm("-a", "-t", vip, "-r", f"{nat.servers[0].address}:80", "-m")
        remembered = len(nat.ipvsadm("-Lnc").splitlines()) - 2
        sysctl(nat.director, "conn_max", str(remembered + 1))
        assert not connects(nat.client, nat.vip)
        sysctl(nat.director, "conn_max", str(remembered + 2))
        assert connects(nat.client, nat.vip)
    finally:
        sysctl(nat.director, "conn_max", default)
        nat.ipvsadm("-D", "-t", vip)


@pytest.mark.long
async def test_sync_daemon_that_is_configured_otherwise_is_started_anew(nat: Topology) -> None:
    bench = Bench(nat.director)
    await bench.keep(configured(IPVS + SERVICES))
    bench.events.clear()
    await bench.keep(configured(IPVS.replace("syncid = 3", "syncid = 5") + SERVICES))
    (changed,) = [event for event in bench.events if isinstance(event, SettingChanged)]
    assert (changed.setting, "syncid 3" in changed.found, "syncid 5" in changed.value) == (
        "ipvs.sync.master",
        True,
        True,
    )
    assert "syncid=5" in nat.ipvsadm("-L", "--daemon")
    await bench.keep(configured(IPVS.replace('"clients"', '"cleints"') + SERVICES))
    assert bench.keeper.last_error == 'ipvs.sync.master: there is no interface "cleints" here'
    assert "mcast=clients, syncid=5" in nat.ipvsadm("-L", "--daemon")


def sync_threads() -> Counter[str]:
    """Return the kernel's threads of sync daemons, one for each port: m for master and b for backup."""
    names = (file.read_text() for file in Path("/proc").glob("[0-9]*/comm"))
    return Counter(name[5] for name in names if name.startswith(("ipvs-m", "ipvs-b")))


async def test_another_number_of_sync_ports_starts_the_sync_daemons_anew(nat: Topology) -> None:
    bench = Bench(nat.director)
    for ports in (2, 4):
        bench.events.clear()
        await bench.keep(configured(f"{IPVS}sync_ports = {ports}\n{SERVICES}"))
        assert {"ipvs.sync.master", "ipvs.sync.backup"} < bench.set()
        assert sync_threads() == {"m": ports, "b": ports}
        assert await bench.look() == []
    assert bench.keeper.last_error == ""


async def test_what_is_not_configured_any_more_is_given_up_and_the_foreign_left_alone(nat: Topology) -> None:
    nat.director.run(["nft", "add table inet somebody; add chain inet somebody mine"])
    bench = Bench(nat.director)
    await bench.keep(configured(IPVS + SERVICES))
    bench.events.clear()
    plain = SERVICES.replace('"fullnat"', '"nat"').replace("synproxy = true", "")
    await bench.keep(configured(plain))
    assert bench.set() == {"nftables inet lvs_healthd", "ipvs.sync.master", "ipvs.sync.backup"}
    assert nat.ipvsadm("-L", "--daemon") == ""
    assert nat.director.run(["nft", "list tables"]).stdout == "table inet somebody\n"
    assert await bench.look() == []


async def test_rules_left_by_an_earlier_run_are_removed(nat: Topology) -> None:
    await Bench(nat.director).keep(configured(SERVICES))
    bench = Bench(nat.director)
    await bench.keep(configured(SERVICES.replace('"fullnat"', '"nat"').replace("synproxy = true", "")))
    assert bench.set() == {"nftables inet lvs_healthd"}
    assert nat.director.run(["nft", "list tables"]).stdout == ""


async def test_shadow_only_tells(nat: Topology) -> None:
    nat.director.run(["sysctl", "-qw", "net.ipv4.vs.expire_nodest_conn=0"])
    bench = Bench(nat.director)
    bench.keeper.want(configured(IPVS + SERVICES), shadow=True)
    await bench.keeper.turn()
    assert {"nftables inet lvs_healthd", "net.ipv4.vs.expire_nodest_conn"} <= bench.set()
    assert await bench.look() == []
    assert nat.director.run(["nft", "list tables"]).stdout == ""
    assert nat.director.run(["sysctl", "-n", "net.ipv4.vs.expire_nodest_conn"]).stdout == "0\n"


async def test_what_cannot_be_set_is_told_and_hinders_nothing_else(nat: Topology) -> None:
    bench = Bench(nat.director)
    await bench.keep(configured(IPVS.replace('"clients"', '"eth7"') + SERVICES))
    assert [event.error for event in bench.events if isinstance(event, SettingFailed)] == [
        'ipvs.sync.master: there is no interface "eth7" here'
    ]
    assert "ipvs.sync.master" not in bench.set()
    assert "backup sync daemon" in nat.ipvsadm("-L", "--daemon")
    assert bench.keeper.last_error == 'ipvs.sync.master: there is no interface "eth7" here'
    assert await bench.look() == []  # the same error is not told at each look


ADVICE: list[tuple[str, str, Callable[[str], str]]] = [
    ("net.ipv4.vs.expire_nodest_conn", "0", lambda text: text),
    ("net.ipv4.vs.expire_quiescent_template", "0", lambda text: text + 'on_failure = "quiesce"\npersistence = "5m"\n'),
    ("net.ipv4.ip_forward", "0", lambda text: text),
]


@pytest.mark.parametrize(("name", "bad", "change"), ADVICE, ids=[name for name, _, _ in ADVICE])
async def test_advice_is_given_once_while_it_holds(
    nat: Topology, name: str, bad: str, change: Callable[[str], str]
) -> None:
    text = '[[service]]\naddress = "192.0.2.100:80"\ncheck = "tcp"\nreal_server = ["198.51.100.11"]\n'

    def advised(events: list[Event]) -> list[str]:
        return [event.setting for event in events if isinstance(event, SettingAdvice) and event.setting == name]

    before = nat.director.run(["sysctl", "-n", name]).stdout.strip()
    nat.director.run(["sysctl", "-qw", f"{name}={bad}"])
    bench = Bench(nat.director)
    await bench.keep(configured(change(text)))
    assert advised(bench.events) == [name]
    assert advised(await bench.look()) == []
    nat.director.run(["sysctl", "-qw", f"{name}=1"])
    assert advised(await bench.look()) == []
    nat.director.run(["sysctl", "-qw", f"{name}={bad}"])
    assert advised(await bench.look()) == [name]
    nat.director.run(["sysctl", "-qw", f"{name}={before}"])


async def test_a_namespace_that_is_gone_or_made_anew_is_noticed() -> None:
    namespace = Namespace("recreated")
    client = IpvsClient(netns=Netns(namespace.name))
    with pytest.raises(TableUnavailableError, match="there is none; make it: ip netns add recreated"):
        await client.open()
    ip_netns("add", namespace)
    try:
        await client.open()
        namespace.run(["ipvsadm", "-A", "-t", "192.0.2.1:80"])
        assert [key.address for key in await client.read()] == ["192.0.2.1"]
        ip_netns("delete", namespace)
        with pytest.raises(TableUnavailableError, match="there is none"):
            await client.read()
        ip_netns("add", namespace)
        assert await client.read() == {}
    finally:
        client.close()
        ip_netns("delete", namespace)


async def test_lock_lets_go_of_a_namespace_that_is_gone_and_holds_the_one_made_anew() -> None:
    namespace = Namespace("recreated")
    ip_netns("add", namespace)
    lock = TableLock(Netns(namespace.name))
    assert lock.take()
    # The other end exists as long as the namespace.
    ip_link = ["ip", "link", "add", "peer", "type", "veth", "peer", "name", "inside", "netns", namespace.name]
    subprocess.run(ip_link, check=True)
    ip_netns("delete", namespace)
    lock.follow_netns()
    wait_until(lambda: not Path("/sys/class/net/peer").exists(), timeout_s=30, what="the end of the namespace")
    lock.follow_netns()
    ip_netns("add", namespace)
    try:
        lock.follow_netns()
        with pytest.raises(AlreadyRunningError, match=f"pid {os.getpid()}"):
            lock_table(Netns(namespace.name))
    finally:
        lock.release()
        ip_netns("delete", namespace)


def is_called(pid: int, name: str) -> bool:
    return Path(f"/proc/{pid}/comm").read_text() == f"{name}\n"


async def test_suspects_are_found_in_the_namespace_of_the_table_only(nat: Topology, tmp_path: Path) -> None:
    program = tmp_path / "keepalived"
    program.symlink_to("/bin/sleep")
    here, elsewhere = (machine.popen([str(program), "60"]) for machine in (nat.director, nat.client))
    try:
        for process in (here, elsewhere):  # until then it is ip
            wait_until(functools.partial(is_called, process.pid, program.name), timeout_s=30, what="the program")
        assert suspects(Netns(nat.director.name), own_pid=-1) == [f"keepalived (pid {here.pid})"]
    finally:
        for process in (here, elsewhere):
            process.kill()
            process.wait()
