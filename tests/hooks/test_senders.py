"""Those who tell: programs, webhooks over real HTTP and HTTPS, and pipes. tests/hooks/test_mail.py has mail."""

import asyncio
import contextlib
import hashlib
import hmac
import os
import ssl
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from lvs_healthd.hooks.facts import NotToldError
from lvs_healthd.hooks.pipe import Pipe
from lvs_healthd.hooks.program import Call, Programs
from lvs_healthd.hooks.webhook import Webhook, post
from lvs_healthd.programs.child import Child
from tests.hooks.doubles import read
from tests.probes.peers import free_port

# ---- Programs --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def programs(folder: Path, *, most: int = 1, timeout_s: float = 10.0) -> AsyncIterator[Programs]:
    path = folder / "exec.sock"
    child = Child(most, str(folder / "files"), lambda _: None)
    await child.start(str(path))
    try:
        yield Programs(str(path), timeout_s)
    finally:
        await child.stop()


def sh(script: str, told: str = "", **variables: str) -> Call:
    return Call(("/bin/sh", "-c", script, "sh"), variables, told)


async def refused(sender: Programs | Webhook | Pipe, payload: object) -> NotToldError:
    with pytest.raises(NotToldError) as raised:
        await sender.send(payload)
    return raised.value


async def test_program_is_told_all_of_its_input_and_its_variables(tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = "line \u00e4\n" * 50_000  # more than a pipe holds
    async with programs(tmp_path) as sender:
        await sender.send(sh(f"echo $TEAM > {out}; cat >> {out}", text, TEAM="blue"))
        assert out.read_text() == f"blue\n{text}"
        await sender.send(sh("exit 0", text))  # and need not read it


async def test_program_that_fails_hangs_or_is_not_there_says_so(tmp_path: Path) -> None:
    async with programs(tmp_path, timeout_s=0.3) as sender:
        error = await refused(sender, sh("echo 'no space'; exit 3"))
        assert (str(error), error.may_work_later) == ("/bin/sh: exit status 3: no space", False)
        assert str(await refused(sender, sh("kill -9 $$"))) == "/bin/sh: killed by signal 9"
        assert str(await refused(sender, sh("sleep 60"))) == "/bin/sh took more than 0.3s"
        missing = await refused(sender, Call(("/no/such",), {}, ""))
        assert str(missing) == "cannot run /no/such: No such file or directory"
        huge = await refused(sender, sh("exit 0", "x" * 2_000_000))
        assert (str(huge), huge.may_work_later) == ("more than 1048576 bytes to tell", False)
        odd = await refused(sender, sh("exit 0", TEAM="\udcff"))
        assert (str(odd), odd.may_work_later) == ("what there is to tell is no text", False)
    gone = await refused(sender, sh("exit 0"))
    assert gone.may_work_later
    assert str(gone).startswith(f"the process that runs programs is not there: {tmp_path}/exec.sock")


async def test_programs_of_hooks_do_not_take_the_places_of_checks(tmp_path: Path) -> None:
    async with programs(tmp_path, most=1) as sender:
        ended = tmp_path / "ended"
        hanging = [
            asyncio.create_task(sender.send(sh(f"while ! test -e {ended}; do sleep 0.05; done"))) for _ in range(4)
        ]
        await asyncio.sleep(0.1)
        # A check's program finds its place, of which there is only one.
        reader, writer = await asyncio.open_unix_connection(tmp_path / "exec.sock")
        writer.write(b'{"argv":["/bin/true"],"environment":{},"timeout_s":5}\n')
        assert await asyncio.wait_for(reader.read(), 5.0) == (
            b'{"type":"started"}\n{"type":"finished","status":0,"output":"","timed_out":false}\n'
        )
        writer.close()
        assert not any(task.done() for task in hanging)
        ended.touch()
        await asyncio.gather(*hanging)


# ---- Webhooks --------------------------------------------------------------------------------------------------------


class Receiver:
    """A web server that notes what is posted."""

    def __init__(self) -> None:
        self.status = 200
        self.delay_s = 0.0
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.port = free_port()
        self.connections: set[object] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.got.append((request.path_qs, dict(request.headers), await request.read()))
        self.connections.add(request.transport)
        await asyncio.sleep(self.delay_s)
        headers = {"Location": "/elsewhere"} if self.status == 302 else {}
        return web.Response(status=self.status, headers=headers, body=b"x" * 100_000)

    @contextlib.asynccontextmanager
    async def running(self, context: ssl.SSLContext | None = None) -> AsyncIterator["Receiver"]:
        application = web.Application()
        application.router.add_post("/{tail:.*}", self.answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=context).start()
        try:
            yield self
        finally:
            await runner.cleanup()


@contextlib.asynccontextmanager
async def webhook(url: str, keys: str = "") -> AsyncIterator[Webhook]:
    (hook,) = read(f'[[hook]]\nurl = "{url}"\n{keys}').hooks
    sender = Webhook(hook)
    try:
        yield sender
    finally:
        await sender.close()


async def test_webhook_posts_json_that_its_receiver_can_verify(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("one\n")
    receiver = Receiver()
    async with (
        receiver.running(),
        webhook(f"http://127.0.0.1:{receiver.port}/x?a=b", f'secret_file = "{key}"') as sender,
    ):
        first = post(b'{"event":"x"}')
        await sender.send(first)
        path, headers, body = receiver.got[0]
        assert (path, body, headers["Content-Type"]) == ("/x?a=b", b'{"event":"x"}', "application/json")
        assert headers["X-Signature-256"] == "sha256=" + hmac.new(b"one", body, hashlib.sha256).hexdigest()
        key.write_text("two\n")  # a new key counts at once
        await sender.send(first)
        await sender.send(post(b"{}"))
        headers = receiver.got[1][1]
        assert headers["X-Signature-256"] == "sha256=" + hmac.new(b"two", body, hashlib.sha256).hexdigest()
        deliveries = [headers["X-Delivery"] for _, headers, _ in receiver.got]
        assert deliveries[0] == deliveries[1] != deliveries[2]


@pytest.mark.parametrize(
    ("status", "again"), [(200, None), (204, None), (302, False), (400, False), (404, False), (429, True), (503, True)]
)
async def test_webhook_is_tried_again_when_its_status_may_be_another_later(status: int, again: bool | None) -> None:
    receiver = Receiver()
    receiver.status = status
    async with receiver.running(), webhook(f"http://127.0.0.1:{receiver.port}/") as sender:
        if again is None:
            await sender.send(post(b"{}"))
        else:
            error = await refused(sender, post(b"{}"))
            assert (str(error), error.may_work_later) == (f"127.0.0.1 answered with status {status}", again)
        assert len(receiver.got) == 1  # no redirect is followed


async def test_webhook_that_is_silent_or_not_there_is_tried_again() -> None:
    receiver = Receiver()
    receiver.delay_s = 30.0
    async with webhook(f"http://127.0.0.1:{receiver.port}/", 'timeout = "300ms"') as sender:
        error = await refused(sender, post(b"{}"))
        assert error.may_work_later
        assert str(error).startswith("cannot post to 127.0.0.1: Cannot connect to host")
        async with receiver.running():
            error = await refused(sender, post(b"{}"))
            assert (str(error), error.may_work_later) == ("no answer from 127.0.0.1 in 0.3s", True)


async def test_webhook_over_tls_is_verified(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    receiver = Receiver()
    url = f"https://127.0.0.1:{receiver.port}/"
    async with receiver.running(context):
        async with webhook(url) as sender:
            assert "certificate verify failed" in str(await refused(sender, post(b"{}")))
        async with webhook(url, f'ca = "{ca}"') as sender:
            await sender.send(post(b"{}"))
    assert len(receiver.got) == 1


async def test_host_that_nobody_knows_is_told() -> None:
    async with webhook("http://hooks.invalid/") as sender:
        error = await refused(sender, post(b"{}"))
        assert error.may_work_later
        assert str(error).startswith("cannot post to hooks.invalid: Cannot connect to host hooks.invalid:80")


# ---- Pipes -----------------------------------------------------------------------------------------------------------


async def test_pipe_is_made_and_keeps_lines_until_somebody_reads(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    pipe = Pipe(str(path))
    await pipe.send(b"one\n")
    await pipe.send(b"two\n")
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert path.stat().st_mode & 0o777 == 0o600
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(descriptor, 100) == b"one\ntwo\n"
    for _ in range(64 * 1024 // 4000):
        await pipe.send(b"x" * 3999 + b"\n")
    error = await refused(pipe, b"y" * 3999 + b"\n")
    assert (str(error), error.may_work_later) == (f"nobody reads {path}, and it is full", True)
    os.read(descriptor, 8000)
    await pipe.send(b"y" * 3999 + b"\n")
    os.close(descriptor)
    assert str(await refused(pipe, b"z" * 5000)) == "more than 4096 bytes for one line"
    await pipe.close()
    assert path.exists()


async def test_file_that_is_no_pipe_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    assert str(await refused(Pipe(str(path)), b"x\n")) == f"cannot write into {path}: it is no named pipe"
    assert path.read_text() == "precious"
    missing = Pipe(str(tmp_path / "none" / "fifo"))
    assert "No such file" in str(await refused(missing, b"x\n"))
