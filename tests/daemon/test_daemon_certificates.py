"""The whole daemon, alone and with worker processes, and a server whose certificate ends soon."""

import asyncio
import datetime as dt
import json
import signal
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from tests.daemon_process import daemon
from tests.probes.peers import answering, free_port, stream_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("workers", [1, 2])
async def test_certificate_that_ends_soon_is_told_once_and_takes_nothing_out_until_expires_fail(
    tmp_path: Path, workers: int
) -> None:
    authority, ca, file = trustme.CA(), tmp_path / "ca.pem", tmp_path / "config.toml"
    authority.cert_pem.write_to_path(str(ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=3, hours=1)
    authority.issue_cert("127.0.0.1", not_after=end).configure_cert(context)
    listen = f"127.0.0.1:{free_port()}"

    async def get(path: str) -> str:
        async with aiohttp.ClientSession() as session, session.get(f"http://{listen}{path}") as answer:
            return await answer.text()

    async with stream_server(answering(OK), tls=context) as port:

        def write(more: str) -> None:
            file.write_text(f"""
[daemon]
listen = "{listen}"
control = "{tmp_path}/control.sock"
state = "{tmp_path}/state.json"
probe_workers = {workers}

[[service]]
name = "web"
address = "127.0.0.100:443"
check = {{ type = "https", interval = "100ms", rise = 1, ca = "{ca}", host = "127.0.0.1" {more} }}
real_server = ["127.0.0.1:{port}"]
""")

        write("")
        async with daemon(file, "--table", "memory") as running:
            told = await running.until("certificate.ending")
            ends = f"{end:%Y-%m-%d %H:%M} UTC"
            assert (told["server"], told["ends"], told["days"]) == (f"127.0.0.1:{port}", ends, 3)
            await asyncio.sleep(1.5)  # many probes, and a further look at what ends
            assert len(running.of("certificate.ending")) == 1
            found: dict[str, Any] = json.loads(await get("/api/v1/status"))["services"][0]["real_servers"][0]
            assert (found["verdict"], found["checks"][0]["remark"]) == ("up", f"the certificate ends on {ends}")
            assert '\nlvs_healthd_service_certificates_ending{service="web"} 1\n' in await get("/metrics")
            write(', expires_fail = "4d"')
            running.process.send_signal(signal.SIGHUP)
            down = await running.until("real_server.down")
            assert down["reason"] == f"the certificate ends on {ends}, which is within expires_fail = 4d"
            assert 'reason="expires_soon"' in await get("/metrics")
            assert len(running.of("certificate.ending")) == 1
