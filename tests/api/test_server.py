"""Where the server listens: errors at start, the control socket's file, and moves on a reload."""

import asyncio
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from lvs_healthd.api import ApiError, ApiServer
from tests.api.conftest import ShownApp
from tests.api.described import DescribedResponse


@pytest.fixture
def taken() -> Iterator[int]:
    """A TCP port on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def free_port(host: str = "127.0.0.1") -> int:
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


async def answer(session: aiohttp.ClientSession) -> str:
    async with session, session.get("/healthz") as response:
        return await response.text()


async def over_tcp(server: ApiServer) -> str:
    return await answer(aiohttp.ClientSession(f"http://{server.address}"))


async def over_control(path: Path | str) -> str:
    connector = aiohttp.UnixConnector(path=str(path))
    return await answer(aiohttp.ClientSession("http://control", connector=connector, response_class=DescribedResponse))


async def refusal(app: web.Application, *, listen: str = "", control: str | Path = "") -> str:
    server = ApiServer(app)
    with pytest.raises(ApiError) as refused:
        await server.start(listen, str(control))
    return str(refused.value)


async def test_both_listeners_serve_the_same(server: ApiServer, control: Path) -> None:
    assert await over_tcp(server) == await over_control(control) == "ok\n"


async def test_a_daemon_that_starts_says_so_and_not_that_there_is_nothing(app: web.Application) -> None:
    server = ApiServer(app)
    await server.start("127.0.0.1:0", "", is_starting=True)
    try:
        async with aiohttp.ClientSession(f"http://{server.address}", response_class=DescribedResponse) as client:

            async def asked(path: str) -> tuple[int, str]:
                async with client.get(path) as response:
                    return response.status, await response.text()

            for path in ("/api/v1/status", "/api/v1/ok?service=web", "/api/v1/table"):
                status, text = await asked(path)
                assert (status, "the daemon is starting" in text) == (503, True), path
            status, page = await asked("/page/")
            assert (status, "the daemon is starting" in page, 'http-equiv="refresh"' in page) == (503, True, True)
            assert [(await asked(path))[0] for path in ("/healthz", "/metrics", "/page/style.css", "/")] == [200] * 4
            server.begin()
            assert (await asked("/api/v1/status"))[0] == (await asked("/page/"))[0] == 200
    finally:
        await server.stop()


async def test_ipv6_is_listened_on(app: web.Application) -> None:
    server = ApiServer(app)
    await server.start("[::1]:0", "")
    assert str(server.address).startswith("[::1]:")
    assert await over_tcp(server) == "ok\n"
    await server.stop()


async def test_both_may_be_off(app: web.Application) -> None:
    server = ApiServer(app)
    await server.start("", "")
    assert server.address is None
    await server.stop()


async def test_taken_port_says_who_might_have_it_and_how_to_find_out(app: web.Application, taken: int) -> None:
    assert await refusal(app, listen=f"127.0.0.1:{taken}") == (
        f"listen 127.0.0.1:{taken}: address already in use: another program (maybe another lvs-healthd) has it; "
        f"see `ss -ltnp 'sport = :{taken}'`"
    )


async def test_failed_start_leaves_nothing_behind(app: web.Application, taken: int, control: Path) -> None:
    await refusal(app, listen=f"127.0.0.1:{taken}", control=control)
    assert not control.exists()


@pytest.mark.parametrize(
    "listen",
    [
        "localhost:9880",
        "9880",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "::1:9880",
        "[127.0.0.1]:1",
        "[::1]",
        ":1",
        "127.0.0.1:٣",
        "127.0.0.1:-1",
    ],
)
async def test_bad_address_says_what_is_expected(app: web.Application, listen: str) -> None:
    expected = f'listen {listen}: expected address:port, as in "127.0.0.1:9880" or "[::1]:9880"'
    assert await refusal(app, listen=listen) == expected


async def test_address_of_another_host_is_refused(app: web.Application) -> None:
    assert "no interface of this host has that address" in await refusal(app, listen="192.0.2.1:9880")


async def test_control_socket_is_for_owner_and_group(server: ApiServer, control: Path) -> None:
    status = control.stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o660


async def test_opening_the_control_socket_leaves_the_umask_alone(app: web.Application, control: Path) -> None:
    before = os.umask(0o027)
    try:
        server = ApiServer(app)
        await server.start("", str(control))
        assert stat.S_IMODE(control.stat().st_mode) == 0o660
        await server.stop()
    finally:
        during = os.umask(before)
    assert during == 0o027


async def test_control_socket_goes_at_stop(app: web.Application, control: Path) -> None:
    server = ApiServer(app)
    await server.start("", str(control))
    await server.stop()
    assert not control.exists()


async def test_stop_leaves_another_daemon_s_socket_alone(app: web.Application, control: Path) -> None:
    first = ApiServer(app)
    await first.start("", str(control))
    control.unlink()  # somebody removed it, and a second daemon came
    second = ApiServer(app)
    await second.start("", str(control))
    await first.stop()
    assert await over_control(control) == "ok\n"
    await second.stop()


async def test_socket_of_a_killed_daemon_is_replaced(app: web.Application, control: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(control))
        killed.listen()
    assert control.exists()
    server = ApiServer(app)
    await server.start("", str(control))
    assert await over_control(control) == "ok\n"
    await server.stop()


async def test_live_control_socket_is_refused_and_lives_on(
    app: web.Application, server: ApiServer, control: Path
) -> None:
    text = await refusal(app, control=control)
    assert text == (
        f"control {control}: another lvs-healthd is running on this socket; stop it, or give this one its own path"
    )
    assert await over_control(control) == "ok\n"


async def test_busy_control_socket_is_alive_too(app: web.Application, control: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(str(control))
        busy.listen(0)
        first.connect(str(control))  # the backlog is full now: the next connect would wait
        assert "another lvs-healthd is running" in await refusal(app, control=control)
        assert control.exists()


async def test_file_that_is_no_socket_is_never_removed(app: web.Application, control: Path) -> None:
    control.write_text("precious")
    assert "something that is not a socket is in the way" in await refusal(app, control=control)
    assert control.read_text() == "precious"


async def test_control_directory_that_is_missing_is_made(app: web.Application, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "control.sock"
    server = ApiServer(app)
    await server.start("", str(path))
    assert await over_control(path) == "ok\n"
    await server.stop()


async def test_control_directory_that_is_a_file_is_named(app: web.Application, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "control.sock"
    assert await refusal(app, control=path) == f"control {path}: a part of the path is not a directory"


async def test_control_directory_that_is_not_writable_is_named(
    app: web.Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "control.sock"

    # Tests may run as root, and no file mode stops root.
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    class Refusing(socket.socket):
        bind = refuse

    monkeypatch.setattr(socket, "socket", Refusing)
    assert await refusal(app, control=path) == (
        f"control {path}: permission denied; the daemon must be able to write in {tmp_path}"
    )


async def test_control_path_that_is_too_long_is_refused(app: web.Application) -> None:
    path = "/tmp/" + "x" * 103
    assert await refusal(app, control=path) == f"control {path}: a socket's path must have 1 to 107 bytes"


async def test_reload_moves_both_and_open_connections_stay(server: ApiServer, control: Path, tmp_path: Path) -> None:
    old_address = str(server.address)
    async with aiohttp.ClientSession(f"http://{old_address}") as session:
        async with session.get("/healthz") as response:
            await response.read()
        new_control = tmp_path / "new.sock"
        await server.rebind(f"127.0.0.1:{free_port()}", str(new_control))
        assert str(server.address) != old_address
        assert await over_tcp(server) == await over_control(new_control) == "ok\n"
        assert not control.exists()
        async with session.get("/healthz") as response:  # the same connection, kept alive
            assert response.status == 200
    with pytest.raises(aiohttp.ClientConnectorError):
        await answer(aiohttp.ClientSession(f"http://{old_address}"))


async def test_reload_without_a_change_keeps_the_listeners(server: ApiServer, control: Path) -> None:
    before = server.address, control.stat().st_ino
    await server.rebind("127.0.0.1:0", str(control))
    assert (server.address, control.stat().st_ino) == before


async def test_reload_to_a_taken_port_keeps_everything_as_it_was(
    server: ApiServer, control: Path, taken: int, tmp_path: Path
) -> None:
    new_control = tmp_path / "new.sock"
    with pytest.raises(ApiError, match="address already in use"):
        await server.rebind(f"127.0.0.1:{taken}", str(new_control))
    assert await over_tcp(server) == await over_control(control) == "ok\n"
    assert not new_control.exists()


async def test_reload_to_a_bad_control_path_keeps_everything_as_it_was(
    server: ApiServer, control: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ApiError, match="not a directory"):
        await server.rebind(f"127.0.0.1:{free_port()}", str(tmp_path / "file" / "control.sock"))
    assert await over_tcp(server) == await over_control(control) == "ok\n"


async def test_reload_may_widen_the_address_on_the_same_port(app: web.Application) -> None:
    port = free_port()
    server = ApiServer(app)
    await server.start(f"127.0.0.1:{port}", "")
    await server.rebind(f"0.0.0.0:{port}", "")
    assert str(server.address) == f"0.0.0.0:{port}"
    assert await over_tcp(server) == "ok\n"
    await server.stop()


async def test_failed_move_on_the_same_port_brings_the_old_listener_back(app: web.Application) -> None:
    port = free_port()
    server = ApiServer(app)
    await server.start(f"127.0.0.1:{port}", "")
    with pytest.raises(ApiError, match="no interface"):
        await server.rebind(f"192.0.2.1:{port}", "")
    assert await over_tcp(server) == "ok\n"
    await server.stop()


async def test_listener_lost_in_a_failed_move_comes_back_with_the_next_reload(
    app: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    server = ApiServer(app)
    await server.start(listen, "")
    with monkeypatch.context() as patched:

        def taken(name: str) -> socket.socket:
            raise ApiError(f"listen {name}: somebody was quicker")

        patched.setattr("lvs_healthd.api.sockets.open_listen", taken)
        with pytest.raises(ApiError, match="somebody was quicker"):
            await server.rebind(listen.replace("127.0.0.1", "0.0.0.0"), "")
    assert server.address is None
    await server.rebind(listen, "")
    assert await over_tcp(server) == "ok\n"
    await server.stop()


async def test_reload_may_turn_a_listener_off_and_on(server: ApiServer, control: Path) -> None:
    await server.rebind("", "")
    assert server.address is None
    assert not control.exists()
    await server.rebind("127.0.0.1:0", str(control))
    assert await over_tcp(server) == await over_control(control) == "ok\n"


async def test_client_that_leaves_early_is_no_error_of_ours(
    server: ApiServer, control: Path, shown: ShownApp, caplog: pytest.LogCaptureFixture
) -> None:
    shown.connections = [b"line\n" * 20_000] * 100  # 10 MB
    reader, writer = await asyncio.open_unix_connection(control)
    writer.write(b"GET /api/v1/connections HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.transport.abort()
    assert await over_control(control) == "ok\n"
    assert caplog.records == []


async def test_strangers_without_http_are_no_errors_of_ours(
    server: ApiServer, control: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for request in (b"GARBAGE\r\n\r\n", b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"):
        reader, writer = await asyncio.open_unix_connection(control)
        writer.write(request)
        assert (await reader.readline()).startswith(b"HTTP/1.0 400") or b" 400 " in await reader.read()
        writer.close()
    assert caplog.records == []


async def test_a_control_socket_whose_file_was_removed_comes_back(server: ApiServer, control: Path) -> None:
    assert not await server.renew_control()
    control.unlink()
    assert await server.renew_control()
    assert not await server.renew_control()
    assert await over_control(control) == "ok\n"


async def test_a_control_socket_in_a_folder_that_was_removed_comes_back(app: web.Application, tmp_path: Path) -> None:
    control = tmp_path / "run" / "control.sock"
    server = ApiServer(app)
    await server.start("", str(control))
    shutil.rmtree(control.parent)
    assert await server.renew_control()
    assert await over_control(control) == "ok\n"
    await server.stop()


async def test_what_took_the_place_of_the_control_socket_is_left_alone_and_named(
    server: ApiServer, control: Path
) -> None:
    control.unlink()
    control.write_text("a file")
    with pytest.raises(ApiError, match="something that is not a socket is in the way"):
        await server.renew_control()
    control.unlink()
    assert await server.renew_control()
