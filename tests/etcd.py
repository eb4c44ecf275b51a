"""Runs Debian's etcd, and talks to it as its own client would, without ours."""

import base64
import contextlib
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.ready_made.servers import Server, free_port, running

PATIENCE_S = 30.0


def command(port: int, peer: int, data: Path, *options: str, scheme: str = "http") -> list[str | Path]:
    """Return the command of a cluster of one server that keeps its data in a folder."""
    here, client = f"http://127.0.0.1:{peer}", f"{scheme}://127.0.0.1:{port}"
    return [
        "etcd",
        *("--name", "one", "--data-dir", data / "data", "--log-outputs", "stderr", "--unsafe-no-fsync"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", here, "--initial-advertise-peer-urls", here, "--initial-cluster", f"one={here}"),
        *("--heartbeat-interval", "20", "--election-timeout", "200"),
        *options,
    ]


class Etcd:
    """An etcd that can be ended, started again, and asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self._peer = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = ""
        self.trust: ssl.SSLContext | None = None
        self.server: Server | None = None
        self._stack = contextlib.ExitStack()

    def start(self, *options: str) -> None:
        scheme = self.url.partition(":")[0]
        words = command(self.port, self._peer, self.folder, *options, scheme=scheme)
        self.server = self._stack.enter_context(running(words, self.folder))
        self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        for attempt in range(int(PATIENCE_S / 0.05)):
            try:
                self.post("kv/range", key=b"x")
            except urllib.error.HTTPError:
                return  # it wants a user
            except OSError:
                if attempt == int(PATIENCE_S / 0.05) - 1:
                    raise
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        assert self.server is not None
        self.server.kill()

    def close(self) -> None:
        self._stack.close()

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        """Ask it. Bytes are written in base64."""
        body = {
            name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for name, value in fields.items()
        }
        headers = {"Authorization": self.token} if self.token else {}
        request = urllib.request.Request(f"{self.url}/v3/{path}", json.dumps(body).encode(), headers)  # noqa: S310  # of our own making
        with urllib.request.urlopen(request, timeout=5, context=self.trust) as answered:  # noqa: S310
            answer: dict[str, Any] = json.load(answered)
            return answer

    def put(self, key: str, value: str | bytes) -> int:
        """Write a key. Return the revision."""
        content = value.encode() if isinstance(value, str) else value
        return int(self.post("kv/put", key=key.encode(), value=content)["header"]["revision"])

    def delete(self, key: str) -> None:
        self.post("kv/deleterange", key=key.encode())

    def get(self, prefix: str) -> dict[str, str]:
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        found = self.post("kv/range", key=prefix.encode(), range_end=end.encode()).get("kvs", [])
        return {
            base64.b64decode(each["key"]).decode(): base64.b64decode(each.get("value", "")).decode() for each in found
        }

    def compact(self) -> None:
        """Forget all changes but the last."""
        self.post("kv/compaction", revision=self.post("kv/range", key=b"x")["header"]["revision"], physical=True)

    def login(self, user: str, password: str) -> None:
        self.token = ""
        self.token = self.post("auth/authenticate", name=user, password=password)["token"]

    def protect(self, *, user: str, password: str, prefix: str, may: str = "READWRITE") -> None:
        """Let in nobody but root, whose password is that of the user too, and a user with rights on a prefix."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        for name in ("root", user):
            self.post("auth/user/add", name=name, password=password)
            self.post("auth/role/add", name=name)
            self.post("auth/user/grant", user=name, role=name)
        permission = {
            "permType": may,
            "key": base64.b64encode(prefix.encode()).decode(),
            "range_end": base64.b64encode(end.encode()).decode(),
        }
        self.post("auth/role/grant", name=user, perm=permission)
        self.post("auth/enable")
        self.login("root", password)


@contextlib.contextmanager
def etcd(folder: Path, *options: str) -> Iterator[Etcd]:
    """Run etcd for the block. Its data is in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Etcd(folder)
    try:
        found.start(*options)
        yield found
    finally:
        found.close()
