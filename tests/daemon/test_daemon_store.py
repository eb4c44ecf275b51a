"""A whole daemon with services in Debian's etcd: through everything that happens to etcd, the table stays right."""

import asyncio
import contextlib
import json
import random
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.daemon_process import DaemonProcess, daemon, run_cli
from tests.etcd import Etcd, etcd
from tests.probes.peers import free_port

PREFIX = "/lvs-healthd/config/"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Etcd]:
    with etcd(tmp_path / "etcd") as found:
        yield found


def config(folder: Path, url: str, more: str = "", name: str = "a") -> Path:
    file = folder / f"{name}.toml"
    file.write_text(f"""
[daemon]
listen = ""
control = "{folder}/{name}.sock"
state = "{folder}/{name}/state.json"
reload_guard = "100%"
[check.quick]
type = "tcp"
interval = "300ms"
fast_interval = "50ms"
rise = 1
[fleet]
store = "{url}"
{more}
""")
    return file


def web(port: int, *numbers: int, vip: int = 100) -> str:
    return (
        f'address = "127.0.0.{vip}:{port}"\ncheck = "quick"\n'
        f"real_server = {[f'127.0.0.{number}' for number in numbers]}\n"
    )


@contextlib.contextmanager
def servers(port: int, *numbers: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for number in numbers:
            stack.enter_context(socket.create_server((f"127.0.0.{number}", port)))
        yield


class Director:
    """A running daemon and its table."""

    def __init__(self, running: DaemonProcess, control: Path) -> None:
        self.running = running
        self.control = ("--control", str(control))

    async def table(self) -> dict[str, list[str]]:
        """Return the servers of each service that get clients."""
        code, out, err = await run_cli("table", "--json", *self.control)
        assert code == 0, err
        return {
            each["service"]: sorted(line["server"] for line in each["servers"] if line["actual"])
            for each in json.loads(out)["services"]
        }

    async def until_table(self, expected: dict[str, list[str]]) -> None:
        found = {}
        for _ in range(200):
            found = await self.table()
            if found == expected:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{found}, not {expected}: {self.running.lines[-8:]}")


@contextlib.asynccontextmanager
async def director(folder: Path, file: Path) -> AsyncIterator[Director]:
    async with daemon(file, "--table", "memory") as running:
        await running.until("daemon.started")
        yield Director(running, folder / f"{file.stem}.sock")
        assert await running.stop() == 0
        assert not running.garbage


async def test_first_steps_of_an_operator(store: Etcd, tmp_path: Path) -> None:
    port = free_port()
    file = config(tmp_path, store.url)
    with servers(port, 2, 3):
        async with director(tmp_path, file) as one:
            store.put(PREFIX + "service/web", web(port, 2, 3))
            await one.until_table({"web": [f"127.0.0.2:{port}", f"127.0.0.3:{port}"]})
            code, out, _ = await run_cli("why", "web", f"127.0.0.2:{port}", *one.control)
            assert code == 0
            assert f"  service: from etcd {PREFIX}service/web; 1 service, since " in out
            store.put(PREFIX + "service/mail", web(port, 2, vip=101).replace("check", "chek"))
            error = await one.running.until("store.error")
            assert (
                f'etcd {PREFIX}service/mail:2: service "mail": chek: unknown key; did you mean "check"?'
                in error["error"]
            )
            code, out, _ = await run_cli("status", "--check", *one.control)
            assert (code, f"etcd /lvs-healthd/: etcd {PREFIX}service/mail:" in out) == (1, True)
            store.delete(PREFIX + "service/mail")
            await one.running.until("store.recovered")
        store.kill()
        async with director(tmp_path, file) as one:
            await one.until_table({"web": [f"127.0.0.2:{port}", f"127.0.0.3:{port}"]})
            away = await one.running.until("store.error")
            assert away["error"] == f"{store.url}: no connection: Connection refused"
            store.start()
            await one.running.until("store.recovered")
            store.put(PREFIX + "service/web", web(port, 3))
            await one.until_table({"web": [f"127.0.0.3:{port}"]})


@pytest.mark.long
async def test_table_is_right_through_all_that_happens_to_etcd_under_churn(store: Etcd, tmp_path: Path) -> None:
    """Killed, silent, compacted, started again, and refusing, while services change all the time."""
    port, chance = free_port(), random.Random(7)
    numbers = range(2, 10)
    secret = tmp_path / "password"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    store.protect(user="director", password="secret", prefix="/lvs-healthd/")
    file = config(tmp_path, store.url, f'user = "director"\npassword_file = "{secret}"\n')
    wanted: dict[str, list[int]] = {}

    async def churn(turns: int) -> None:
        for _ in range(turns):
            name = f"s{chance.randrange(6)}"
            if len(wanted) > 3 and chance.random() < 0.3:
                gone = chance.choice(sorted(wanted))
                wanted.pop(gone)
                await asyncio.to_thread(store.delete, f"{PREFIX}service/{gone}")
            else:
                wanted[name] = chance.sample(numbers, chance.randrange(1, 5))
                text = web(port, *wanted[name], vip=100 + int(name[1:]))
                await asyncio.to_thread(store.put, f"{PREFIX}service/{name}", text)

    def expected() -> dict[str, list[str]]:
        return {name: sorted(f"127.0.0.{each}:{port}" for each in wanted[name]) for name in wanted}

    with servers(port, *numbers):
        async with director(tmp_path, file) as one:
            for accident in ["none", "killed", "silent", "compacted", "refused", "killed", "compacted while away"]:
                await churn(12)
                await one.until_table(expected())
                before = len(one.running.lines)
                assert store.server is not None
                match accident:
                    case "killed":
                        await asyncio.to_thread(store.kill)
                        await one.running.until("store.error", after=before)
                        assert await one.table() == expected()
                        await asyncio.to_thread(store.start)
                        store.login("root", "secret")
                    case "silent":
                        store.server.freeze()
                        await one.running.until("store.error", after=before)
                        assert await one.table() == expected()
                        store.server.thaw()
                    case "compacted":
                        await asyncio.to_thread(store.compact)
                    case "refused":
                        await asyncio.to_thread(store.post, "auth/user/revoke", name="director", role="director")
                        error = await one.running.until("store.error", after=before)
                        assert "permission denied; see `etcdctl role get NAME`" in error["error"]
                        store.login("root", "secret")
                        await churn(6)
                        await asyncio.to_thread(store.post, "auth/user/grant", user="director", role="director")
                        store.login("root", "secret")
                    case "compacted while away":
                        await asyncio.to_thread(store.kill)
                        await one.running.until("store.error", after=before)
                        await asyncio.to_thread(store.start)
                        store.login("root", "secret")
                        await churn(3)
                        await asyncio.to_thread(store.compact)
                await churn(6)
                await one.until_table(expected())
            assert not one.running.of("store.held")
            assert not one.running.of("real_server.down")


@pytest.mark.long
async def test_servers_register_themselves_with_a_lease(store: Etcd, tmp_path: Path) -> None:
    port = free_port()
    file = config(tmp_path, store.url)
    text = file.read_text().replace('reload_guard = "100%"', "")
    service = web(port).replace("real_server = []", 'source = { etcd = "web" }')
    file.write_text(f'{text}\n[[service]]\nname = "web"\n{service}')
    own = [f"127.0.0.{number}:{port}" for number in (2, 3, 4)]
    store.put("/lvs-healthd/servers/web", "127.0.0.2\n127.0.0.3\n")
    with servers(port, 2, 3, 4):
        async with director(tmp_path, file) as one:
            await one.until_table({"web": own[:2]})
            lease = store.post("lease/grant", TTL=60)["ID"]
            key = f"/lvs-healthd/servers/web/{own[2]}".encode()
            store.post("kv/put", key=key, value=b"", lease=lease)
            await one.until_table({"web": own})
            code, out, _ = await run_cli("why", "web", own[2], *one.control)
            assert (code, "  source: etcd web: 3 servers, since " in out) == (0, True)
            store.post("lease/revoke", ID=lease)
            await one.until_table({"web": own[:2]})
            store.delete("/lvs-healthd/servers/web")
            held = await one.running.until("discovery.held")
            assert held["reason"].startswith("it lists no server any more, and 2 servers before")
            assert await one.table() == {"web": own[:2]}
        store.kill()
        async with director(tmp_path, file) as one:
            await one.until_table({"web": own[:2]})
            error = await one.running.until("discovery.error")
            assert error["error"] == f"{store.url}: no connection: Connection refused"
