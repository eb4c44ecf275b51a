"""Mail to a real relay: Exim as Debian packages it, in the clear and over TLS, and a relay that refuses."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from lvs_healthd.config.hook_model import Hook
from lvs_healthd.hooks.digest import Gathered
from lvs_healthd.hooks.facts import NotToldError, Told
from lvs_healthd.hooks.letter import letter
from lvs_healthd.hooks.relay import Relay
from tests.hooks.doubles import WALL, down, read
from tests.ready_made.checks import PATIENCE_S
from tests.ready_made.servers import free_port, running
from tests.ready_made.test_mail import exim

ACCEPTING = ("queue_only", "acl_smtp_rcpt = ours", "begin acl", "ours:", "  accept domains = example.org", "  deny")
"""Exim keeps every mail to example.org in its queue."""


def hook(port: int, keys: str = "", outside: str = "", to: str = '"oncall@example.org"') -> Hook:
    mail = f'mail = {{ to = {to}, from = "lvs@example.org", relay = "127.0.0.1:{port}"{keys} }}'
    (found,) = read(f"[[hook]]\n{mail}\n{outside}").hooks
    return found


async def send(found: Hook) -> None:
    assert found.mail is not None
    sender = Relay(found, found.mail)
    await sender.send(letter(found.mail, Gathered((Told(down(), WALL),), {"real_server.down": 1})))
    await sender.close()


async def refused(found: Hook) -> NotToldError:
    with pytest.raises(NotToldError) as raised:
        await send(found)
    return raised.value


def queued(directory: Path) -> list[str]:
    """Return what Exim has in its queue, the envelope and header lines before the text of each mail."""
    texts = directory / "spool" / "input"
    return [each.read_text() + each.with_name(each.name.replace("-H", "-D")).read_text() for each in texts.glob("*-H")]


@contextlib.asynccontextmanager
async def relay(directory: Path, *settings: str) -> AsyncIterator[int]:
    port = free_port()
    with running(exim(port, directory, *settings, *ACCEPTING), directory, logs=[directory / "exim-mainlog"]):
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.05)
        yield port


async def test_relay_takes_the_mail_in_the_clear_if_it_offers_nothing_else(tmp_path: Path) -> None:
    async with relay(tmp_path, "tls_advertise_hosts =") as port:
        await send(hook(port))
        (mail,) = queued(tmp_path)
        assert "<lvs@example.org>" in mail
        assert "oncall@example.org" in mail
        assert "real_server.down web 198.51.100.11:80: connection refused" in mail
        assert "service=web  server=198.51.100.11:80" in mail
        error = await refused(hook(port, ', tls = "starttls"'))
        assert error.may_work_later
        assert "STARTTLS" in str(error)


async def test_mail_goes_over_tls_if_it_can_and_only_to_a_valid_certificate_if_it_must(tmp_path: Path) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    settings = ("tls_advertise_hosts = *", f"tls_certificate = {tmp_path}/server.pem")
    async with relay(tmp_path, *settings) as port:
        await send(hook(port))  # whatever the certificate says
        error = await refused(hook(port, ', tls = "starttls"'))
        assert "certificate verify failed" in str(error)
        await send(hook(port, ', tls = "starttls"', f'ca = "{tmp_path}/ca.pem"'))
        await send(hook(port, ', tls = "none"'))
    received = [line for mail in queued(tmp_path) for line in mail.splitlines() if "with esmtp" in line]
    assert sorted("esmtps" in line for line in received) == [False, True, True]


async def test_relay_that_refuses_a_reader_for_good_is_not_asked_again(tmp_path: Path) -> None:
    async with relay(tmp_path, "tls_advertise_hosts =") as port:
        error = await refused(hook(port, to='"oncall@example.com"'))
        assert (error.may_work_later, "550" in str(error) or "dministrative" in str(error)) == (False, True)
        error = await refused(hook(port, to='["oncall@example.com", "oncall@example.org"]'))
        assert str(error) == "127.0.0.1 took the mail, but not for oncall@example.com"
        assert len(queued(tmp_path)) == 1


@contextlib.asynccontextmanager
async def talking(*lines: bytes) -> AsyncIterator[int]:
    """Serve a relay that says these lines, one for each that it hears and the first at once, and then hangs."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in lines:
            writer.write(line)
            if not await reader.readline():
                break
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_relay_that_is_busy_hangs_or_is_not_there_is_asked_again() -> None:
    limit = 'timeout = "300ms"'
    async with talking(b"421 too busy\r\n") as port:
        error = await refused(hook(port, outside=limit))
        assert (error.may_work_later, "421" in str(error) or "busy" in str(error)) == (True, True)
    async with talking(b"220 mail\r\n", b"250 mail\r\n") as port:
        error = await refused(hook(port, outside=limit))
        assert error.may_work_later
    async with talking(b"220 mail\r\n", b"250 mail\r\n", b"250 sender\r\n", b"450 later\r\n") as port:
        assert (await refused(hook(port, outside=limit))).may_work_later
    assert (await refused(hook(free_port()))).may_work_later


def test_daemon_loads_the_library_only_for_a_hook_that_mails() -> None:
    code = "import sys, lvs_healthd.daemon.daemon; print('aiosmtplib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"
