import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.ipvs import SYSCTL_KEYS
from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Ipvs, Sync, SyncDaemon, Timeouts
from tests.config.reading import errors_of, read, service

MIXED = service('forward = "tun"', servers='["[2001:db8::1]"]')
FULLNAT = service('forward = "fullnat"')


def ipvs(text: str, services: str = "") -> Ipvs:
    return read(text + "\n" + (services or service())).ipvs


def test_without_the_table_nothing_is_configured() -> None:
    assert ipvs("") == Ipvs() == ipvs("[ipvs]")


def test_everything() -> None:
    text = """
[ipvs]
netns = "lb"
timeouts = { tcp = "15m", udp = "300s" }
sync.master = { interface = "eth1", syncid = 7 }
sync.backup = { interface = "eth2", group = "ff02::81", port = 9000, ttl = 3, maxlen = 1400 }
sysctl = { conntrack = true, expire_nodest_conn = false, sync_threshold = [3, 50], drop_entry = 3 }
"""
    found = ipvs(text)
    assert found == Ipvs(
        netns="lb",
        timeouts=Timeouts(tcp=Seconds(900.0), udp=Seconds(300.0)),
        sync=Sync(
            master=SyncDaemon(interface="eth1", syncid=7),
            backup=SyncDaemon(interface="eth2", group="ff02::81", port=9000, ttl=3, maxlen=1400),
        ),
        sysctl=(("conntrack", "1"), ("drop_entry", "3"), ("expire_nodest_conn", "0"), ("sync_threshold", "3\t50")),
    )
    assert parse(to_toml(read(text + service())), "effective.toml").ipvs == found


VALUES = {
    name: st.booleans() | st.integers(-20, 64) | st.sampled_from([[1, 9], [3, 0], "'0'", "'9,1-3'"])
    for name in SYSCTL_KEYS
}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_effective_sysctls_load_to_the_same(written: dict[str, object]) -> None:
    lines = [f"{name} = {str(value).lower()}" for name, value in written.items() if is_right(name, value)]
    config = read("[ipvs.sysctl]\n" + "\n".join(lines) + "\n" + service())
    assert len(config.ipvs.sysctl) == len(lines)
    assert parse(to_toml(config), "effective.toml").ipvs == config.ipvs


def is_right(name: str, value: object) -> bool:
    try:
        SYSCTL_KEYS[name].parse(value.strip("'") if isinstance(value, str) else value)
    except Exception:  # noqa: BLE001  # any exception means wrong
        return False
    return True


# What is written, and what Linux 7.2 then shows. Each was tried.
CPUS = {
    "0": "0",
    "00": "0",
    "1,0": "0-1",
    "0-1": "0-1",
    "0,1,1": "0-1",
    "6,0-3": "0-3,6",
    "1-2,4,3,8,10-11": "1-4,8,10-11",
    "3-3": "3",
}


@pytest.mark.parametrize(("written", "shown"), CPUS.items())
def test_cpus_are_written_as_the_kernel_shows_them(written: str, shown: str) -> None:
    assert ipvs(f"[ipvs.sysctl]\nest_cpulist = '{written}'").sysctl == (("est_cpulist", shown),)


@given(st.sets(st.integers(0, 8191), min_size=1, max_size=40))
def test_the_same_cpus_are_always_written_the_same(cpus: set[int]) -> None:
    parse_cpus = SYSCTL_KEYS["est_cpulist"].parse
    text = str(parse_cpus(",".join(map(str, cpus))))
    assert parse_cpus(text) == text
    spans = [part.partition("-") for part in text.split(",")]
    assert {cpu for low, _, high in spans for cpu in range(int(low), int(high or low) + 1)} == cpus


BOUNDS = {
    "conn_lfactor": (-8, 8),
    "conn_max": (0, 1073741824),
    "est_nice": (-20, 19),
    "svc_lfactor": (-8, 8),
}


@pytest.mark.parametrize(("name", "bounds"), BOUNDS.items())
def test_bounds_are_the_kernel_s(name: str, bounds: tuple[int, int]) -> None:
    least, most = bounds
    for value in bounds:
        assert ipvs(f"[ipvs.sysctl]\n{name} = {value}").sysctl == ((name, str(value)),)
    for value in (least - 1, most + 1):
        (error,) = errors_of(f"[ipvs.sysctl]\n{name} = {value}\n" + service())
        assert error.endswith(f"{name}: expected {least}..{most}, got {value}")


WRONG = {
    "[ipvs]\nnetns = 'a b'": 'netns: expected a name that `ip netns` lists, or an absolute path, got "a b"',
    "[ipvs]\nnetns = '..'": 'netns: expected a name that `ip netns` lists, or an absolute path, got ".."',
    "[ipvs]\ntimeout = '1s'": 'timeout: unknown key; did you mean "timeouts"?',
    "[ipvs.timeouts]\ntcp = 9": 'timeouts.tcp: expected whole seconds from 1s to 596h, got 9; give it a unit: "9s"',
    "[ipvs.timeouts]\ntcp = '1.5s'": 'timeouts.tcp: expected whole seconds from 1s to 596h, got "1.5s"',
    "[ipvs.sync]\nprimary = {}": "sync.primary: unknown key; known here: master, backup",
    "[ipvs.sync.master]": 'sync.master: interface is missing: the one that leads to the other director, such as '
    'interface = "eth1"',
    "[ipvs.sync.master]\ninterface = 'eth0/1'": 'sync.master.interface: expected the name of a network interface, '
    'got "eth0/1"',
    "[ipvs.sync.master]\ninterface = 'e'\ngroup = '192.0.2.1'": 'sync.master.group: expected a multicast address such '
    'as "224.0.0.81", got "192.0.2.1"',
    "[ipvs.sync.backup]\ninterface = 'e'\nmaxlen = 1000": "sync.backup.maxlen: expected at least 1024 for a backup, "
    "got 1000",
    "[ipvs.sync.master]\ninterface = 'e'\ngroup = 'ff02::1'\nmaxlen = 65500": "sync.master.maxlen: expected at most "
    "65487 for ff02::1, got 65500",
    "[ipvs.sysctl]\nconntrack = 1": "sysctl.conntrack: expected true or false, got 1",
    "[ipvs.sysctl]\nconn_track = true": 'sysctl.conn_track: unknown key; did you mean "conntrack"?',
    "[ipvs.sysctl]\nsync_threshold = [9, 3]": "sysctl.sync_threshold: expected two integers such as [3, 50], the "
    "second greater or 0, got 9 and 3",
    "[ipvs.sysctl]\ndrop_entry = 2": "sysctl.drop_entry: expected 0 (never), 1 (while memory is short) or 3 (always), "
    "got 2; the kernel itself turns 1 into 2 while memory is short",
    "[ipvs.sysctl]\nsecure_tcp = true": "sysctl.secure_tcp: expected 0 (never), 1 (while memory is short) or 3 "
    "(always), got true",
    "[ipvs.sysctl]\nest_cpulist = 0": 'sysctl.est_cpulist: expected CPUs from 0 to 8191, such as "0-3,6", got 0',
    "[ipvs.sysctl]\nest_cpulist = '3-1'": 'sysctl.est_cpulist: expected CPUs from 0 to 8191, such as "0-3,6", got '
    '"3-1"',
    "[ipvs.sysctl]\nest_cpulist = '0-8192'": 'sysctl.est_cpulist: expected CPUs from 0 to 8191, such as "0-3,6", got '
    '"0-8192"',
    "[ipvs.sysctl]\nest_cpulist = ''": 'sysctl.est_cpulist: expected CPUs from 0 to 8191, such as "0-3,6", got ""; '
    "for none: run_estimation = false",
    "[ipvs.sysctl]\nsync_ports = 3": "sysctl.sync_ports: expected a power of two, 1 to 64, got 3",
    '[ipvs]\nnetns = "a\\u0000b"': 'netns: expected a name that `ip netns` lists, or an absolute path, got '
    '"a\\u0000b"',
    '[ipvs.sync.master]\ninterface = "e\\u0000"': 'sync.master.interface: expected the name of a network interface, '
    'got "e\\u0000"',
    "[ipvs.sync.master]\ninterface = 'e'\ngroup = 'ff02::81%e'": 'sync.master.group: expected a multicast address such '
    'as "224.0.0.81", got "ff02::81%e"',
    "[ipvs.sysctl]\nsync_threshold = 3": "sysctl.sync_threshold: expected two integers such as [3, 50], the second "
    "greater or 0, got 3",
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG.items())
def test_what_is_wrong_is_reported_with_its_place(text: str, message: str) -> None:
    (error,) = errors_of(text + "\n" + service())
    assert error.partition(": ipvs.")[2] == message


def test_sync_daemon_and_servers_of_another_family_exclude_each_other() -> None:
    sync = "[ipvs.sync.backup]\ninterface = 'eth1'\n"
    (error,) = errors_of(sync + MIXED)
    assert error == (
        "c.toml:1: ipvs.sync: the kernel accepts no server of another address family than its service while a sync "
        'daemon runs, and service "web" has one'
    )
    assert read(sync + service()).ipvs.sync.backup is not None


def test_fullnat_and_synproxy_need_connection_tracking() -> None:
    off = "[ipvs.sysctl]\nconntrack = false\n"
    for services in (
        FULLNAT,
        service("synproxy = true"),
        service('fallback = [{ address = "198.51.100.9", forward = "fullnat" }]'),
    ):
        assert errors_of(off + services) == [
            'c.toml:2: ipvs.sysctl.conntrack: service "web" needs it: fullnat and synproxy rely on connection tracking'
        ]
    assert read(off + service()).services
    assert read("[ipvs.sysctl]\nconntrack = true\n" + FULLNAT).services


SYNPROXY = {
    'protocol = "udp"\nsynproxy = true': "only for tcp: udp has no such handshake",
    'forward = "dr"\nsynproxy = true': '198.51.100.11:80 has forward = "dr", and its answers do not pass the director, '
    "which has to correct their sequence numbers; only nat and fullnat",
    'address = "192.0.2.1:0"\npersistence = "5m"\nsynproxy = true': "not for port 0: say which port's handshakes are "
    "finished here",
    "fwmark = 7\nsynproxy = true": "not for a firewall mark: the handshake is finished at an address and port",
}  # fmt: skip


@pytest.mark.parametrize(("keys", "message"), SYNPROXY.items())
def test_synproxy_where_it_cannot_work(keys: str, message: str) -> None:
    check = '{ type = "tcp", port = 80 }'
    (error,) = errors_of(service(keys, check=check))
    assert error.endswith(f"synproxy: {message}")


@pytest.mark.parametrize("key", ["synproxy_mss = 1400", "synproxy_wscale = 7"])
def test_what_only_synproxy_announces(key: str) -> None:
    (error,) = errors_of(service(key))
    assert error.endswith(f"{key.partition(' ')[0]}: this does nothing without synproxy = true")
    config = read(service(f"synproxy = true\n{key}"))
    assert parse(to_toml(config), "effective.toml").services == config.services


def test_fullnat_maps_ports_and_takes_no_datagrams_one_by_one() -> None:
    assert read(service('forward = "fullnat"', servers='["198.51.100.11:8080"]')).services
    (error,) = errors_of(service('protocol = "udp"\nforward = "fullnat"\none_packet = true'))
    assert error.endswith("real_server[0]: with one_packet the kernel translates no answers, so fullnat does not work")
