"""Which values of sysctls count as wanted. tests/kernel/test_director.py uses the real sysctls."""

import asyncio
from collections.abc import Iterable, Mapping

import msgspec
import pytest

from lvs_healthd.config.model import Config, Ipvs
from lvs_healthd.director import sysctls
from lvs_healthd.director.aspect import Setting
from lvs_healthd.director.sysctls import CONNTRACK, TCP_LOOSE, Sysctls
from lvs_healthd.runtime.netns import Netns
from tests.configs import server, service

KERNEL = {
    "net.ipv4.vs.drop_entry": "2",
    "net.ipv4.vs.secure_tcp": "1",
    "net.ipv4.vs.drop_packet": "0",
    "net.ipv4.vs.conn_reuse_mode": "2",
    "net.ipv4.vs.est_cpulist": "",
}


def wanting(**values: str) -> Config:
    return Config(ipvs=Ipvs(sysctl=tuple(values.items())))


async def kernel(_: Netns, names: Iterable[str]) -> Mapping[str, str | None]:
    found = {name: KERNEL.get(name) for name in names}
    await asyncio.sleep(0)
    return found


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Sysctls:
    monkeypatch.setattr(sysctls, "read", kernel)
    return Sysctls(Netns())


async def test_a_defence_that_the_kernel_has_put_up_is_as_wanted(kept: Sysctls) -> None:
    kept.want(wanting(drop_entry="1", secure_tcp="1", drop_packet="1", conn_reuse_mode="1"))
    assert await kept.differing() == [
        Setting("net.ipv4.vs.drop_packet", "0", "1"),
        Setting("net.ipv4.vs.conn_reuse_mode", "2", "1"),
    ]


async def test_a_defence_against_all_is_not_one_while_memory_is_short(kept: Sysctls) -> None:
    kept.want(wanting(drop_entry="3"))
    assert await kept.differing() == [Setting("net.ipv4.vs.drop_entry", "2", "3")]


async def test_one_that_is_empty_is_not_one_that_is_missing(kept: Sysctls) -> None:
    kept.want(wanting(est_cpulist="0-3", conn_max="5"))
    assert await kept.differing() == [
        Setting("net.ipv4.vs.est_cpulist", "empty", "0-3"),
        Setting("net.ipv4.vs.conn_max", "missing", "5"),
    ]


async def test_only_what_a_service_needs_is_vital(kept: Sysctls) -> None:
    proxied = msgspec.structs.replace(service(server("198.51.100.1")), synproxy=True)
    kept.want(Config(services=(proxied,), ipvs=Ipvs(sysctl=(("conn_max", "5"),))))
    differing = await kept.differing()
    assert {setting.name: setting.is_vital for setting in differing} == {
        "net.ipv4.vs.conn_max": False,
        CONNTRACK: True,
        TCP_LOOSE: True,
    }


async def test_a_reload_while_they_are_read_does_no_harm(kept: Sysctls) -> None:
    kept.want(wanting(drop_entry="0"))
    looking = asyncio.create_task(kept.differing())
    await asyncio.sleep(0)
    kept.want(wanting(drop_packet="3", drop_entry="0"))
    assert await looking == [Setting("net.ipv4.vs.drop_entry", "2", "0")]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.vs.conntrack", "/proc/sys/net/ipv4/vs/conntrack"),
        ("net/ipv4/conf/eth0.100/rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
    ],
)
def test_names_with_slashes_may_have_dots_in_their_parts(name: str, path: str) -> None:
    assert sysctls._path(name) == path
