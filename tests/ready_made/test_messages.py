"""Mosquitto, libcoap, Kamailio, gRPC and rsyslog."""

from pathlib import Path

import pytest

from tests.ready_made.checks import hasty, ready_made
from tests.ready_made.conftest import Tried
from tests.ready_made.servers import UNPACKED, free_port, running, unpacked


def mosquitto(port: int, directory: Path, *settings: str) -> list[str | Path]:
    lines = [f"listener {port} 127.0.0.1", "user root", *settings]
    (directory / "mosquitto.conf").write_text("".join(f"{line}\n" for line in lines))
    return ["mosquitto", "-c", directory / "mosquitto.conf"]


def test_mqtt(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("mqtt", port)
    with running(mosquitto(port, tmp_path, "allow_anonymous true"), tmp_path) as server:
        tried.life(check, "mosquitto", server)


def test_mqtt_that_wants_a_password_is_down(tried: Tried, port: int, tmp_path: Path) -> None:
    with running(mosquitto(port, tmp_path, "allow_anonymous false"), tmp_path):
        tried.down_soon(ready_made("mqtt", port), "mosquitto", "wants a password")


def test_coap(tried: Tried, tmp_path: Path) -> None:
    check = ready_made("coap", free_port())
    with running(["coap-server-notls", "-A", "127.0.0.1", "-p", str(check.port)], tmp_path) as server:
        tried.life(check, "libcoap3-bin", server)


def kamailio(port: int, directory: Path, answer: str) -> list[str | Path]:
    (directory / "kamailio.cfg").write_text(
        f"#!KAMAILIO\ndebug=2\nlog_stderror=yes\nfork=yes\nchildren=1\ndisable_tcp=yes\nlisten=udp:127.0.0.1:{port}\n"
        f'mpath="{unpacked("lib/*/kamailio/modules")}/"\nloadmodule "sl.so"\nloadmodule "pv.so"\n'
        f"request_route {{ {answer} exit; }}\n"
    )
    runtime = ("-Y", directory, "-P", directory / "pid", "-m", "16", "-M", "4")
    return ["kamailio", "-DD", "-E", "-f", directory / "kamailio.cfg", *runtime]


def test_sip(tried: Tried, tmp_path: Path) -> None:
    check = ready_made("sip", free_port())
    with running(kamailio(check.port, tmp_path, 'sl_send_reply("200", "OK");'), tmp_path) as server:
        tried.life(check, "kamailio", server)


def test_sip_that_is_overloaded_is_down(tried: Tried, tmp_path: Path) -> None:
    check = ready_made("sip", free_port())
    with running(kamailio(check.port, tmp_path, 'sl_send_reply("503", "Overloaded");'), tmp_path):
        tried.down_soon(check, "kamailio", "answers 503")


GRPC = """
import concurrent.futures, sys, grpc
class Health(grpc.GenericRpcHandler):
    def service(self, call):
        if call.method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(lambda request, context: bytes.fromhex(sys.argv[2]))
server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[Health()])
assert server.add_insecure_port("127.0.0.1:" + sys.argv[1])
server.start()
server.wait_for_termination()
"""
SERVING, NOT_SERVING, UNKNOWN = "0801", "0802", ""


def grpc(port: int, status: str) -> list[str | Path]:
    return ["/usr/bin/python3", "-c", GRPC, str(port), status]


GRPC_ENVIRONMENT = {"PYTHONPATH": str(UNPACKED / "usr" / "lib" / "python3" / "dist-packages")}


def test_grpc(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("grpc", port)
    with running(grpc(port, SERVING), tmp_path, environment=GRPC_ENVIRONMENT) as server:
        tried.life(check, "python3-grpcio", server)


@pytest.mark.parametrize(("status", "state"), [(NOT_SERVING, "is NOT_SERVING"), (UNKNOWN, "says UNKNOWN")])
def test_grpc_that_does_not_serve_is_down(tried: Tried, port: int, tmp_path: Path, status: str, state: str) -> None:
    with running(grpc(port, status), tmp_path, environment=GRPC_ENVIRONMENT):
        tried.down_soon(hasty(ready_made("grpc", port)), "python3-grpcio", state)


def test_syslog(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("syslog", port)
    (tmp_path / "rsyslog.conf").write_text(
        f'module(load="imtcp")\ninput(type="imtcp" port="{port}" address="127.0.0.1")\n*.* {tmp_path}/log\n'
    )
    modules = unpacked("lib/*/rsyslog")
    command: list[str | Path] = [
        "rsyslogd",
        "-n",
        "-f",
        tmp_path / "rsyslog.conf",
        "-i",
        tmp_path / "pid",
        "-M",
        modules,
    ]
    with running(command, tmp_path, logs=[tmp_path / "log"]) as server:
        tried.up(check, "rsyslog", server=server)
        server.freeze()
        tried.up(check, "rsyslog", "stopped by SIGSTOP")
        server.kill()
        tried.closed(check, "rsyslog")
