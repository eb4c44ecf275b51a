"""The client, with Debian's etcd, and with servers that are none."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp.web
import pytest
import trustme

from lvs_healthd.store.client import Access, Ask, Client, Compare, Delete, Put, prefix_end
from lvs_healthd.store.errors import RefusedError, StoreError, UnansweredError
from tests.etcd import Etcd
from tests.ready_made.servers import free_port


@contextlib.asynccontextmanager
async def client(*endpoints: str, user: str = "", password: Callable[[], str] = str) -> AsyncIterator[Client]:
    found = Client(Access(endpoints, user=user, password=password))
    try:
        yield found
    finally:
        await found.close()


async def test_keys_are_written_read_and_deleted(shared: Etcd) -> None:
    async with client(shared.url) as store:
        await store.put(b"/a/1", b"one")
        second = await store.put(b"/a/2", bytes(range(256)))
        await store.put(b"/b", b"other")
        found = await store.range(b"/a/", prefix_end(b"/a/"))
        assert {each.key: each.value for each in found.kvs} == {b"/a/1": b"one", b"/a/2": bytes(range(256))}
        newest = await store.range(b"/a/", prefix_end(b"/a/"), newest_only=True)
        assert ([(each.key, each.value) for each in newest.kvs], newest.count) == ([(b"/a/2", b"")], 2)
        assert newest.kvs[0].mod_revision == second.header.revision
        assert (await store.delete(b"/a/", prefix_end(b"/a/"))).deleted == 2
        assert (await store.range(b"/a/1")).kvs == ()


async def test_transaction_that_comes_too_late_changes_nothing(shared: Etcd) -> None:
    async with client(shared.url) as store:
        revision = (await store.put(b"/t/1", b"one")).header.revision
        ask, whole = Ask(b"/t/", prefix_end(b"/t/")), Compare(b"/t/", revision, prefix_end(b"/t/"))
        done = await store.transact([whole], [Put(b"/t/2", b"two"), Delete(b"/t/1")], ask)
        listed = done.responses[-1].response_range
        assert done.succeeded
        assert listed is not None
        assert [each.key for each in listed.kvs] == [b"/t/2"]
        assert not (await store.transact([whole], [Delete(b"/t/2")])).succeeded  # it is newer than `revision`
        assert not (await store.transact([Compare(b"/t/2", 0, exactly=True)], [Delete(b"/t/2")])).succeeded
        assert shared.get("/t/") == {"/t/2": "two"}


async def test_thousand_operations_in_one_transaction(shared: Etcd) -> None:
    """Etcd takes no more than 128 side by side."""
    async with client(shared.url) as store:
        before = (await store.range(b"/m/")).header.revision
        puts = [Put(b"/m/%d" % number, b"x") for number in range(1000)]
        assert (await store.transact([Compare(b"/m/", before, prefix_end(b"/m/"))], puts)).succeeded
        found = await store.range(b"/m/", prefix_end(b"/m/"))
        assert (found.count, found.header.revision) == (1000, before + 1)


async def test_lease_ends_with_its_key(shared: Etcd) -> None:
    async with client(shared.url) as store:
        lease = (await store.grant(60)).ID
        await store.put(b"/l", b"x", lease)
        assert await store.keep_alive(lease) == 60
        shared.post("lease/revoke", ID=lease)
        assert (await store.range(b"/l")).kvs == ()
        assert await store.keep_alive(lease) == 0


async def test_watch_tells_of_changes_of_a_megabyte(shared: Etcd) -> None:
    async with client(shared.url) as store:
        begin = (await store.put(b"/w/1", b"before")).header.revision
        large = b"\xff" * (1 << 20)  # 1.4 MiB in base64; aiohttp's own reader of lines takes half a MiB
        watch = store.watch(b"/w/", prefix_end(b"/w/"), begin + 1)
        assert (await anext(watch)).created
        await store.put(b"/w/2", large)
        assert [(each.kv.key, each.kv.value) for each in (await anext(watch)).events] == [(b"/w/2", large)]
        await watch.aclose()  # type: ignore[attr-defined]  # it is a generator


async def test_user_and_password_are_needed_and_a_lost_token_is_renewed(own: Etcd) -> None:
    own.protect(user="director", password="secret", prefix="/mine/")
    async with client(own.url) as nobody:
        with pytest.raises(RefusedError, match=r"user name is empty; it wants a user: set \[fleet\] user"):
            await nobody.range(b"/mine/x")
    async with client(own.url, user="director", password=lambda: "wrong") as wrong:
        with pytest.raises(RefusedError, match=r"authentication failed.*see \[fleet\] user and password_file"):
            await wrong.range(b"/mine/x")
    async with client(own.url, user="director", password=lambda: "secret") as store:
        await store.put(b"/mine/x", b"1")
        with pytest.raises(RefusedError, match="permission denied; see `etcdctl role get NAME`"):
            await store.range(b"/others/x")
        own.kill()
        own.start()  # which forgets all tokens
        with contextlib.suppress(UnansweredError):  # by the old connection
            await store.range(b"/mine/x")
        assert (await store.range(b"/mine/x")).kvs[0].value == b"1"
        own.login("root", "secret")
        own.post("auth/user/add", name="other", password="secret")  # changes what tokens are good for
        assert (await store.range(b"/mine/x")).kvs[0].value == b"1"


async def test_user_where_everybody_is_let_in(shared: Etcd) -> None:
    async with client(shared.url, user="director", password=lambda: "secret") as store:
        assert (await store.range(b"/nothing")).kvs == ()


async def test_password_that_cannot_be_read(shared: Etcd) -> None:
    def missing() -> str:
        raise OSError(2, "no such file: /secret")

    async with client(shared.url, user="director", password=missing) as store:
        with pytest.raises(StoreError, match=r"\[fleet\] password_file: .*/secret"):
            await store.range(b"/nothing")


async def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    for name, each in (("ca", authority), ("other", stranger)):
        each.cert_pem.write_to_path(str(tmp_path / f"{name}.pem"))
    for name, host in (("right", "127.0.0.1"), ("wrong", "192.0.2.1")):
        certificate = authority.issue_cert(host)
        certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / f"{name}.pem"))
    for name, told in (
        ("right", ""),
        ("wrong", "its certificate is not trusted: .*192|its certificate is not trusted"),
    ):
        store = Etcd(tmp_path / name)
        store.folder.mkdir()
        store.url = store.url.replace("http:", "https:")
        store.trust = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        store.trust.check_hostname = False
        try:
            store.start("--cert-file", str(tmp_path / f"{name}.pem"), "--key-file", str(tmp_path / f"{name}.pem"))
            for ca, error in (("ca", told), ("other", "its certificate is not trusted")):
                client = Client(Access((store.url,), ca=str(tmp_path / f"{ca}.pem")))
                expected = pytest.raises(UnansweredError, match=error) if error else contextlib.nullcontext()
                with expected:
                    await client.range(b"/nothing")
                await client.close()
            plain = Client(Access((store.url.replace("https:", "http:"),)))
            with pytest.raises(
                UnansweredError, match=r"it has hung up: it is stopping, or wants https:// in \[fleet\] store"
            ):
                await plain.range(b"/nothing")
            await plain.close()
            missing = Client(Access((store.url,), ca="/nonexistent"))
            with pytest.raises(StoreError, match=r"\[fleet\] ca: cannot use /nonexistent"):
                await missing.range(b"/nothing")
        finally:
            store.close()


async def test_tls_where_there_is_none(shared: Etcd) -> None:
    async with client(shared.url.replace("http:", "https:")) as store:
        with pytest.raises(
            UnansweredError, match=r"it has hung up: it is stopping, or wants http:// in \[fleet\] store"
        ):
            await store.range(b"/nothing")


async def test_next_server_is_asked_in_turn(shared: Etcd) -> None:
    absent = f"http://127.0.0.1:{free_port()}"
    async with client(absent, shared.url) as store:
        with pytest.raises(UnansweredError, match=f"{absent}: no connection: Connection refused"):
            await store.range(b"/nothing")
        store.go_on()
        await store.range(b"/nothing")


async def test_silent_server_is_given_up(own: Etcd) -> None:
    async with client(own.url) as store:
        await store.range(b"/nothing")
        assert own.server is not None
        own.server.freeze()
        with pytest.raises(UnansweredError, match=r"no answer in 0\.2s"):
            await store.range(b"/nothing", timeout_s=0.2)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b"<html>", "something answers, but not etcd's JSON gateway"),
        (200, b"{}", "something answers, but not etcd's JSON gateway"),
        (404, b"<html>", "something answers with status 404, but not etcd's JSON gateway"),
        (302, b"", "something answers with status 302, but not etcd's JSON gateway"),
        (
            503,
            b'{"error":"etcdserver: no leader","code":14}',
            "etcd refuses: etcdserver: no leader; the cluster",
        ),
        (400, b'{"error":"\\u001b[2J","code":3}', r"etcd refuses: \\x1b\[2J"),
    ],
    ids=["page", "empty", "not found", "redirect", "no leader", "control characters"],
)
async def test_strangers_are_told(status: int, body: bytes, told: str) -> None:
    async def answer(_: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response(status=status, body=body, headers={"Location": "http://192.0.2.1/"})

    app = aiohttp.web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with client(f"http://127.0.0.1:{port}") as store:
            with pytest.raises(StoreError, match=told):
                await store.range(b"/nothing")
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)
