"""ZooKeeper, RabbitMQ, Varnish and xrdp: large to fetch or slow to start."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ready_made.checks import ready_made
from tests.ready_made.conftest import Tried
from tests.ready_made.servers import IN_PLACE, NOBODY, Server, free_port, in_place, run, running, unpacked
from tests.ready_made.test_web import HEALTH, nginx

pytestmark = pytest.mark.long


# ---- ZooKeeper -------------------------------------------------------------------------------------------------------


def zookeeper(port: int, directory: Path, *settings: str) -> list[str | Path]:
    lines = [f"dataDir={IN_PLACE}", "clientPortAddress=127.0.0.1", f"clientPort={port}", "admin.enableServer=false"]
    (directory / "zoo.cfg").write_text("".join(f"{line}\n" for line in [*lines, *settings]))
    java = unpacked("lib/jvm/java-*-openjdk-*/bin/java")
    classes = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    command: list[str | Path] = [
        f"/usr/{java.relative_to(java.parents[4])}",
        "-cp",
        classes,
        main,
        IN_PLACE / "zoo.cfg",
    ]
    return in_place(*command, directory=directory, users={"zookeeper": NOBODY})


def test_zookeeper(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("zookeeper", port)
    with running(zookeeper(port, tmp_path), tmp_path) as server:
        tried.life(check, "zookeeper", server)


def test_zookeeper_without_a_quorum_is_down(tried: Tried, port: int, tmp_path: Path) -> None:
    members = [f"server.{number}=127.0.0.1:{free_port()}:{free_port()}" for number in (1, 2, 3)]
    (tmp_path / "myid").write_text("1\n")
    with running(zookeeper(port, tmp_path, "initLimit=5", "syncLimit=2", *members), tmp_path):
        tried.down_soon(ready_made("zookeeper", port), "zookeeper", "has no quorum")


# ---- RabbitMQ --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def rabbitmq(port: int, directory: Path) -> Iterator[Server]:
    names = free_port()
    environment = {
        "HOME": str(IN_PLACE),
        "ERL_EPMD_PORT": str(names),
        "RABBITMQ_NODENAME": "rabbit@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(IN_PLACE / "mnesia"),
        "RABBITMQ_LOG_BASE": str(IN_PLACE),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(IN_PLACE / "plugins"),
    }
    accounts = {"rabbitmq": NOBODY}
    (directory / "names").mkdir()
    epmd = in_place("epmd", "-port", str(names), directory=directory / "names", users=accounts)
    server = in_place("/usr/lib/rabbitmq/bin/rabbitmq-server", directory=directory, users=accounts)
    with running(epmd, directory / "names"), running(server, directory, environment=environment) as broker:
        yield broker


def test_amqp(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("amqp", port)
    with rabbitmq(port, tmp_path) as server:
        tried.life(check, "rabbitmq-server", server)


# ---- Varnish ---------------------------------------------------------------------------------------------------------


VCL = """
vcl 4.1;
import std;
backend one {{
  .host = "127.0.0.1"; .port = "{backend}";
  .probe = {{ .url = "/nginx-health"; .expected_response = 204; .interval = 100ms; .timeout = 100ms; .window = 2;
    .threshold = 1; }}
}}
sub vcl_recv {{ {rule} }}
"""
ASKS = """if (req.url == "/varnish-health") {
  if (std.healthy(req.backend_hint)) { return (synth(200)); }
  return (synth(503));
}"""
HIDES = 'if (req.url == "/varnish-health") { return (synth(200)); } std.log("");'


def varnish(port: int, directory: Path, backend: int, rule: str) -> list[str | Path]:
    (directory / "varnish.vcl").write_text(VCL.format(backend=backend, rule=rule))
    options = ("-j", "none", "-n", directory / "work", "-s", "malloc,10m", "-p", "vcc_allow_inline_c=off")
    command = ("varnishd", "-F", "-a", f"127.0.0.1:{port}", "-f", directory / "varnish.vcl", *options)
    return in_place(*command, directory=directory, users={"varnish": NOBODY})  # it runs a C compiler


def test_varnish(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("varnish", port)
    (tmp_path / "behind").mkdir()
    behind = nginx(backend := free_port(), tmp_path / "behind", HEALTH)
    with (
        running(behind, tmp_path / "behind") as origin,
        running(varnish(port, tmp_path, backend, ASKS), tmp_path) as server,
    ):
        tried.life(check, "varnish", server, ends=False)
        origin.kill()
        tried.down_at_last(check, "varnish", "its backend is dead", "503")
        server.kill()
        tried.closed(check, "varnish")


def test_varnish_that_always_says_200_hides_a_dead_backend(tried: Tried, port: int, tmp_path: Path) -> None:
    with running(varnish(port, tmp_path, free_port(), HIDES), tmp_path):
        tried.up(ready_made("varnish", port), "varnish", "its backend is dead, and its VCL does not ask")


# ---- xrdp ------------------------------------------------------------------------------------------------------------


def xrdp(port: int, directory: Path, *, address: str = "127.0.0.1") -> list[str | Path]:
    (directory / "root" / "etc" / "xrdp").mkdir(parents=True)
    run("xrdp-keygen", "xrdp", directory / "root" / "etc" / "xrdp" / "rsakeys.ini", directory=directory)
    certificate = ("-keyout", directory / "key.pem", "-out", directory / "cert.pem")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", *certificate, directory=directory)
    (directory / "xrdp.ini").write_text(
        f"[Globals]\nini_version=1\nport=tcp://{address}:{port}\nfork=true\nsecurity_layer=tls\n"
        f"certificate={IN_PLACE}/cert.pem\nkey_file={IN_PLACE}/key.pem\nssl_protocols=TLSv1.2, TLSv1.3\n"
        f"[Logging]\nLogFile={IN_PLACE}/xrdp.log\nLogLevel=INFO\nEnableSyslog=false\n[Xorg]\nname=Xorg\nlib=libxup.so\n"
    )
    command = ("xrdp", "--nodaemon", "--config", IN_PLACE / "xrdp.ini")
    return in_place(*command, directory=directory, users={"xrdp": NOBODY})


def test_rdp(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("rdp", port)
    with running(xrdp(port, tmp_path), tmp_path, logs=[tmp_path / "xrdp.log"]) as server:
        tried.life(check, "xrdp", server)
