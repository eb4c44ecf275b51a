"""The whole daemon when certificates are out of date by its clock, on a table in memory."""

import datetime as dt
import json
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.daemon_process import daemon, run_cli
from tests.probes.peers import answering, free_port, stream_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
DAY = dt.timedelta(days=1)
NAME = "web.example"


class Site:
    """https servers that share one certificate, which can be replaced, and their configuration."""

    def __init__(self, folder: Path, servers: int, workers: int = 1) -> None:
        self.file = folder / "config.toml"
        self.state = folder / "state.json"
        self.ports = [free_port() for _ in range(servers)]
        self._authority = trustme.CA()
        ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(ca))
        self._current = self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.use(-DAY, DAY)
        self.tls.sni_callback = self._choose
        self.file.write_text(f"""
[daemon]
listen = "127.0.0.1:{free_port()}"
control = "{folder}/control.sock"
state = "{self.state}"
probe_workers = {workers}

[[service]]
name = "web"
address = "127.0.0.100:443"
check = {{ type = "https", host = "{NAME}", ca = "{ca}", interval = "200ms", timeout = "5s", fall = 2 }}
real_server = {json.dumps([f"127.0.0.1:{port}" for port in self.ports])}
""")

    def use(self, begin: dt.timedelta, end: dt.timedelta) -> None:
        """Let the servers have a certificate that is valid from `begin` to `end`, counted from now."""
        now = dt.datetime.now(dt.UTC)
        self._current = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(NAME, not_before=now + begin, not_after=now + end).configure_cert(self._current)

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    async def status(self) -> dict[str, Any]:
        _, out, _ = await run_cli("status", "--config", str(self.file), "--json")
        found: dict[str, Any] = json.loads(out)
        return found


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
async def test_certificates_that_expire_together_remove_nothing_and_are_told(tmp_path: Path, workers: int) -> None:
    site = Site(tmp_path, 2, workers)
    async with (
        stream_server(answering(OK), port=site.ports[0], tls=site.tls),
        stream_server(answering(OK), port=site.ports[1], tls=site.tls),
        daemon(site.file, "--table", "memory") as running,
    ):
        for port in site.ports:
            await running.until("real_server.up", server=f"127.0.0.1:{port}")
        site.use(-2 * DAY, -DAY)
        suspected = await running.until("clock.suspected")
        assert (suspected["targets"], suspected["verified"]) == (2, 2)
        code, line, _ = await run_cli("status", "--config", str(site.file), "--check")
        assert code == 1
        assert "the director's clock is suspected to be wrong" in line
        status = await site.status()
        assert status["daemon"]["clock_suspected"] == suspected["reason"]
        assert [each["verdict"] for each in status["services"][0]["real_servers"]] == ["up", "up"]
        site.use(-DAY, DAY)
        await running.until("clock.trusted")
        assert running.of("real_server.down") == []


async def test_clock_before_the_last_save_keeps_a_new_certificate_from_counting(tmp_path: Path) -> None:
    site = Site(tmp_path, 1)
    site.use(DAY / 2, DAY)
    site.state.write_text(json.dumps({"format": 1, "written": time.time() + 86400}))
    async with (
        stream_server(answering(OK), port=site.ports[0], tls=site.tls),
        daemon(site.file, "--table", "memory") as running,
    ):
        suspected = await running.until("clock.suspected")
        assert "(reckoned from the state file)" in suspected["reason"]
        assert "timedatectl" in suspected["reason"]
        await running.until("check.unsure")
        # What the daemon saves does not forget the later time.
        await running.stop()
    assert json.loads(site.state.read_text())["written"] > time.time() + 80000
    assert running.of("check.failing") == []
