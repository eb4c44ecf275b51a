"""Commands of the servers that the services in examples/ need, other than the L7 balancers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from lab.netns import RealServer
from tests.ready_made.test_messages import mosquitto

TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
"""The folders that nginx wants to have, whether it needs them or not."""


def snmptrapd(folder: Path, machine: RealServer) -> list[str | Path]:
    (folder / "snmptrapd.conf").write_text("disableAuthorization yes\n")
    options = ("-f", "-n", "-Lo", "-m", "", "-C", "-c", folder / "snmptrapd.conf")
    return ["snmptrapd", *options, f"udp:{machine.address}:162"]


def websockets(folder: Path) -> list[str | Path]:
    """Return the command of a broker. It wants to have a plain listener too."""
    return mosquitto(1883, folder, "allow_anonymous true", "listener 9001", "protocol websockets")


def web(folder: Path, machine: RealServer, authority: trustme.CA, *, days: int) -> list[str | Path]:
    """Return the command of a web server with a certificate for so many days. Port 80 sends clients to https."""
    end = datetime.now(UTC) + timedelta(days=days)
    key = authority.issue_cert("www.example.org", not_after=end, key_type=trustme.KeyType.ECDSA)
    key.private_key_and_cert_chain_pem.write_to_path(folder / "key.pem")
    temporary = "".join(f" {name}_temp_path {folder}/{name};" for name in TEMPORARY)
    (folder / "nginx.conf").write_text(
        f"daemon off; user root; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off;{temporary} add_header Server-Name {machine.name} always;\n"
        " server { listen 80; return 301 https://$host$request_uri; }\n"
        f" server {{ listen 443 ssl; ssl_certificate {folder}/key.pem; ssl_certificate_key {folder}/key.pem;\n"
        "  server_name www.example.org; location / { return 200 ok; } }\n"
        " server { listen 443 ssl default_server; ssl_reject_handshake on; } }\n"
    )
    return ["nginx", "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]
