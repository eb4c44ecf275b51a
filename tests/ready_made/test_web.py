"""HAProxy and nginx, whose own answers hide what is behind them unless they are told otherwise."""

from pathlib import Path

import trustme

from lvs_healthd.probes.outcome import Reason
from tests.ready_made.checks import hasty, outcome, ready_made, wait_until_open, wait_until_up
from tests.ready_made.conftest import Tried
from tests.ready_made.servers import free_port, running
from tests.ready_made.test_caches import occupied


def haproxy(port: int, directory: Path, backend: int, *lines: str, most: int = 100) -> list[str | Path]:
    (directory / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 1s\n timeout client 10s\n timeout server 1s\n option httplog\n"
        " log stdout format raw local0\n"
        f"frontend front\n bind 127.0.0.1:{port}\n maxconn {most}\n"
        " monitor-uri /haproxy-health\n default_backend back\n"
        + "".join(f" {line}\n" for line in lines)
        + f"backend back\n server one 127.0.0.1:{backend} check inter 100ms fall 1 rise 1\n"
    )
    return ["haproxy", "-db", "-f", directory / "haproxy.cfg"]


FAILS = ("acl dead nbsrv(back) lt 1", "monitor fail if dead")


def nginx(port: int, directory: Path, location: str) -> list[str | Path]:
    folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    (directory / "nginx.conf").write_text(
        f"daemon off;\npid {directory}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n"
        + "".join(f" {name}_temp_path {directory}/{name};\n" for name in folders)
        + f" access_log {directory}/access.log;\n server {{ listen 127.0.0.1:{port}; {location} }}\n}}\n"
    )
    return ["nginx", "-p", directory, "-e", "stderr", "-c", directory / "nginx.conf"]


HEALTH = "location = /nginx-health { access_log off; return 204; }"


def test_nginx(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("nginx", port)
    with running(nginx(port, tmp_path, HEALTH), tmp_path, logs=[tmp_path / "access.log"]) as server:
        tried.life(check, "nginx-light", server)


def test_nginx_without_the_location_is_down(tried: Tried, port: int, tmp_path: Path) -> None:
    with running(nginx(port, tmp_path, "root /nonexistent;"), tmp_path):
        tried.down_soon(ready_made("nginx", port), "nginx-light", "has no such location", "404")


def test_nginx_whose_upstream_is_dead_is_down_if_the_location_asks_it(tried: Tried, port: int, tmp_path: Path) -> None:
    asks = f"location = /nginx-health {{ proxy_pass http://127.0.0.1:{free_port()}; }}"
    with running(nginx(port, tmp_path, asks), tmp_path):
        tried.down_soon(
            ready_made("nginx", port), "nginx-light", "its upstream is dead, and the location asks it", "502"
        )


def test_haproxy(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("haproxy", port)
    (tmp_path / "behind").mkdir()
    behind = nginx(backend := free_port(), tmp_path / "behind", HEALTH)
    with (
        running(behind, tmp_path / "behind") as origin,
        running(haproxy(port, tmp_path, backend, *FAILS), tmp_path) as server,
    ):
        tried.life(check, "haproxy", server, ends=False)
        origin.kill()
        tried.down_at_last(check, "haproxy", "its servers are dead, and `monitor fail` asks for them", "503")
        server.kill()
        tried.closed(check, "haproxy")


def test_haproxy_without_a_condition_hides_that_its_servers_are_dead(tried: Tried, port: int, tmp_path: Path) -> None:
    with running(haproxy(port, tmp_path, free_port()), tmp_path):
        tried.up(ready_made("haproxy", port), "haproxy", "its servers are dead, without `monitor fail`")


def test_haproxy_that_is_full_is_down(tried: Tried, port: int, tmp_path: Path) -> None:
    check = ready_made("haproxy", port)
    with running(haproxy(port, tmp_path, free_port(), most=2), tmp_path):
        wait_until_up(check)
        with occupied(port, 2):
            tried.down(hasty(check), "haproxy", "has as many connections as `maxconn` allows")


READY = 'location = /readyz { return 200 "ok"; }'
NOT_READY = (
    'location = /readyz { return 500 "[+]ping ok\\n[-]etcd failed: reason withheld\\nreadyz check failed\\n"; }',
    'location = /readyz { return 401 "Unauthorized"; }',
    "location = /readyz { return 429; }",
    'location / { return 200 "<html>ok</html>"; }',
)
"""How the documentation says that an API server answers, and a web server in its place."""


def test_kubernetes_readyz_passes_and_fails_as_the_documentation_says(port: int, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("kubernetes.default.svc").private_key_and_cert_chain_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    keys = f"ssl_certificate {tmp_path}/key.pem; ssl_certificate_key {tmp_path}/key.pem;"
    trusting = {"sni": "kubernetes.default.svc", "ca": str(tmp_path / "ca.pem")}
    check = ready_made("kubernetes-readyz", port, **trusting)

    def api_server(location: str) -> list[str | Path]:
        command = nginx(port, tmp_path, f"{keys} {location}")
        file = tmp_path / "nginx.conf"
        file.write_text(file.read_text().replace(f":{port};", f":{port} ssl;"))
        return command

    with running(api_server(READY), tmp_path) as server:
        wait_until_up(check)
        server.freeze()
        assert outcome(hasty(check)).reason is Reason.TIMEOUT
        server.thaw()
        assert outcome(ready_made("kubernetes-readyz", port)).reason is Reason.TLS  # without `ca`
    for location, reason in zip(NOT_READY, [*[Reason.BAD_STATUS] * 3, Reason.BAD_ANSWER], strict=True):
        with running(api_server(location), tmp_path):
            wait_until_open(check)
            assert outcome(check).reason is reason
