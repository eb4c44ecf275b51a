"""A daemon as one of a pair: it follows the addresses of a real network namespace. Its table is in memory."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.netns import Namespace
from tests.daemon_process import DaemonProcess, daemon, run_cli
from tests.namespaces import Server, namespace, server

VIP, VIP6 = "192.0.2.100", "2001:db8::100"
RS, RS6 = "198.51.100.11", "2001:db8:2::11"
INTERVAL_S = 0.2


class Host:
    """A network namespace with a daemon's configuration, whose services are on two virtual addresses."""

    def __init__(self, at: Namespace, folder: Path) -> None:
        self.at = at
        self.file = folder / "config.toml"
        self.control = folder / "control.sock"
        self.track = folder / "run" / "track"
        self.write('active_when = "vip-present"')

    def write(self, pair: str, *, daemon: str = "", web: str = "", more: str = "") -> None:
        keys = f'interval = "{INTERVAL_S}s", timeout = "{INTERVAL_S}s", rise = 2, fall = 3'
        check = f'check = {{ type = "tcp", expect = "hi", {keys} }}'
        self.file.write_text(f"""
[daemon]
listen = ""
control = "{self.control}"
state = "{self.file.parent}/state.json"
resync = "1s"
{daemon}
[pair]
{pair}
[[service]]
name = "web"
address = "{VIP}:80"
{check}
real_server = [{{ address = "{RS}:8080", weight = 5 }}]
{web}
[[service]]
name = "web6"
address = "[{VIP6}]:80"
{check}
real_server = ["[{RS6}]:8080"]
[[service]]
name = "marked"
fwmark = 7
vip = "{VIP}"
{check.replace(" }", ", port = 8080 }")}
real_server = ["{RS}"]
{more}
""")

    def ip(self, *words: str) -> None:
        self.at.run(["ip", *words])

    @contextlib.asynccontextmanager
    async def daemon(self, *options: str) -> AsyncIterator[DaemonProcess]:
        async with daemon(self.file, "--table", "memory", *options, namespace=self.at) as running:
            await running.until("daemon.started")
            yield running

    async def verb(self, *words: str) -> tuple[int, str]:
        code, out, err = await run_cli(*words, "--control", str(self.control))
        return code, out or err

    async def status(self) -> dict[str, Any]:
        _, out = await self.verb("status", "--json")
        found: dict[str, Any] = json.loads(out)
        return found

    async def service(self, name: str) -> dict[str, Any]:
        (found,) = [each for each in (await self.status())["services"] if each["service"] == name]
        return dict(found)

    async def weight(self, name: str) -> int | None:
        found: int | None = (await self.service(name))["real_servers"][0]["weight_actual"]
        return found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with namespace() as at:
        at.run(["ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1"])
        at.run(["ip", "address", "add", f"{RS}/32", "dev", "lo"])
        at.run(["ip", "address", "add", f"{RS6}/128", "dev", "lo"])
        yield Host(at, tmp_path)


@pytest.fixture
async def web(host: Host) -> AsyncIterator[Server]:
    async with server(host.at, RS) as made:
        yield made


async def test_role_follows_the_address_and_changes_only_what_is_told(host: Host, web: Server) -> None:
    async with host.daemon() as running:
        begun = await running.until("pair.standby", vip=VIP)
        assert (begun["services"], begun["count"], begun["after_s"]) == (["web", "marked"], 2, None)
        await running.until("pair.standby", vip=VIP6, services=["web6"])
        await running.until("table.changed", operation="add_server", service="web")
        assert await host.weight("web") == 5, "the table of a standby director is warm"
        found = await host.service("web")
        assert (found["role"], found["vip"], found["suspended"]) == ("standby", VIP, False)
        for device in ("d0", "lo"):  # d0 is down: the kernel takes packets for its address all the same
            position = len(running.lines)
            host.ip("address", "add", f"{VIP}/32", "dev", device)
            told = await running.until("pair.active", after=position)
            assert (told["vip"], told["services"], told["reason"]) == (VIP, ["web", "marked"], "")
            assert told["after_s"] > 0
            assert (await host.service("marked"))["role"] == "active"
            assert (await host.service("web6"))["role"] == "standby"
            host.ip("address", "delete", f"{VIP}/32", "dev", device)
            await running.until("pair.standby", vip=VIP, after=position)
        host.ip("address", "add", f"{VIP6}/128", "dev", "lo")
        await running.until("pair.active", vip=VIP6)
        assert running.of("table.changed", operation="delete_server") == []
        assert len(running.of("table.changed", operation="add_server", service="web")) == 1


async def test_address_of_a_deleted_interface_is_gone(host: Host) -> None:
    host.ip("address", "add", f"{VIP}/32", "dev", "d0")
    async with host.daemon() as running:
        await running.until("pair.active", vip=VIP)
        host.ip("link", "delete", "d0")
        await running.until("pair.standby", vip=VIP)


async def test_ipv6_address_that_its_interface_loses_with_its_link_is_gone(host: Host) -> None:
    for each in ("d0", "d1"):
        host.ip("link", "set", each, "up")
    host.ip("address", "add", f"{VIP6}/128", "dev", "d0", "nodad")
    async with host.daemon() as running:
        await running.until("pair.active", vip=VIP6)
        host.ip("link", "set", "d0", "down")
        await running.until("pair.standby", vip=VIP6)


async def test_thousands_of_changes_end_in_the_truth(host: Host) -> None:
    async with host.daemon() as running:
        await running.until("pair.standby", vip=VIP)
        running.process.send_signal(signal.SIGSTOP)
        lines = [f"address {verb} 10.{n // 250}.{n % 250}.1/32 dev lo" for n in range(4000) for verb in ("add", "del")]
        host.at.run(["ip", "-batch", "-"], stdin="\n".join([*lines, f"address add {VIP}/32 dev lo"]) + "\n")
        running.process.send_signal(signal.SIGCONT)
        await running.until("pair.active", vip=VIP)
        assert running.of("pair.error") == []
        host.ip("address", "delete", f"{VIP}/32", "dev", "lo")
        await running.until("pair.standby", vip=VIP, after=len(running.lines) - 1)


async def test_check_of_a_standby_director_is_no_more_than_a_warning_and_pages_once_it_is_active(host: Host) -> None:
    async with host.daemon() as running:  # nobody serves
        for name in ("web", "web6", "marked"):
            await running.until("service.fallback", service=name)
        code, line = await host.verb("status", "--check")
        assert code == 1
        assert "web: no real server may serve, while it is standby" in line
        assert (await host.verb("status", "web"))[1].count("standby") == 1
        host.ip("address", "add", f"{VIP}/32", "dev", "lo")
        await running.until("pair.active")
        code, line = await host.verb("status", "--check")
        assert (code, line.startswith("CRITICAL: 0 of 3 real servers up in 3 services; web: no real")) == (2, True)
        assert "role: active" in (await host.verb("why", "web", RS))[1]


async def test_without_the_key_no_service_has_a_role(host: Host) -> None:
    host.write("")
    async with host.daemon() as running:
        host.ip("address", "add", f"{VIP}/32", "dev", "lo")
        host.ip("address", "delete", f"{VIP}/32", "dev", "lo")
        assert {each["role"] for each in (await host.status())["services"]} == {""}
        host.write('active_when = "vip-present"')
        assert (await host.verb("reload"))[0] == 0
        await running.until("pair.standby", vip=VIP)
        assert running.of("pair.active") == [], "a reload knows the addresses before it counts on them"
        host.write("")
        assert (await host.verb("reload"))[0] == 0
        assert {each["role"] for each in (await host.status())["services"]} == {""}


async def settled(host: Host, web: Server) -> None:
    """Wait until no probe is under way, and assert that no other begins."""
    assert web.connections > 0
    await asyncio.sleep(3 * INTERVAL_S)
    before = web.connections
    await asyncio.sleep(10 * INTERVAL_S)
    assert web.connections == before


@pytest.mark.long
async def test_suspended_service_keeps_its_verdict_and_is_probed_at_once_when_active(host: Host, web: Server) -> None:
    host.write('active_when = "vip-present"\nstandby = "suspend"')
    host.ip("address", "add", f"{VIP}/32", "dev", "lo")
    async with host.daemon() as running:
        await running.until("table.changed", operation="add_server", service="web")
        assert (await host.service("web"))["suspended"] is False
        assert running.of("real_server.down", service="web6") == [], "its address was never here"
        host.ip("address", "delete", f"{VIP}/32", "dev", "lo")
        told = await running.until("pair.standby", vip=VIP)
        assert told["suspended"] is True
        await settled(host, web)
        await web.stop()
        found = await host.service("web")
        assert (found["suspended"], found["real_servers"][0]["verdict"]) == (True, "up")
        assert found["real_servers"][0]["weight_actual"] == 5
        assert (await host.verb("status", "--check"))[0] == 0
        assert "standby, not probed" in (await host.verb("status"))[1]
        assert "it is not probed meanwhile" in (await host.verb("why", "web", RS))[1]
        host.ip("address", "add", f"{VIP}/32", "dev", "lo")
        down = await running.until("real_server.down", service="web")
        assert down["reason"] == "connection refused"
        assert (await host.service("web"))["suspended"] is False


async def test_probe_that_an_active_service_needs_too_is_run(host: Host, web: Server) -> None:
    shared = f"""
[[service]]
name = "always"
address = "192.0.2.200:80"
vip = ""
check = {{ type = "tcp", expect = "hi", interval = "{INTERVAL_S}s", timeout = "{INTERVAL_S}s", rise = 2, fall = 3 }}
real_server = ["{RS}:8080"]
"""
    host.write('active_when = "vip-present"\nstandby = "suspend"', more=shared)
    async with host.daemon() as running:
        await running.until("table.changed", operation="add_server", service="always")
        await running.until("table.changed", operation="add_server", service="web")
        assert (await host.service("web"))["suspended"] is False
        assert (await host.service("web6"))["suspended"] is True


async def test_reload_begins_and_ends_suspension(host: Host, web: Server) -> None:
    async with host.daemon() as running:
        await running.until("table.changed", operation="add_server", service="web")
        host.write('active_when = "vip-present"\nstandby = "suspend"')
        assert (await host.verb("reload"))[0] == 0
        await settled(host, web)
        # A service that changes while it is suspended, and one that comes.
        host.write('active_when = "vip-present"\nstandby = "suspend"', web='scheduler = "rr"')
        assert (await host.verb("reload"))[0] == 0
        host.write(
            'active_when = "vip-present"\nstandby = "suspend"',
            web='scheduler = "rr"',
            more=f'[[service]]\nname = "new"\naddress = "{VIP}:81"\ncheck = "tcp"\nreal_server = ["{RS}:8080"]\n',
        )
        assert (await host.verb("reload"))[0] == 0
        await settled(host, web)
        host.write('active_when = "vip-present"')
        assert (await host.verb("reload"))[0] == 0
        before = web.connections
        async with asyncio.timeout(30):
            while web.connections < before + 5:
                await asyncio.sleep(INTERVAL_S)
        assert running.garbage == []
