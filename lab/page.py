"""Lets a browser on this machine see the status page of the daemon on the lab's director.

The director gets one more network, on which the daemon listens. In a guest, it is a network card of the guest: QEMU
forwards a port of this machine's loopback to it, and nothing else. Without a guest, it is a virtual cable.
"""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lab.daemon import write_configuration
from lab.host import MODE
from lab.netns import Namespace
from lab.topologies.wiring import ip_batch
from lab.topology import Topology

PORT = 9880
_IN_GUEST = "10.0.2.15"
"""The address of a guest to which QEMU forwards."""

ADDRESS = _IN_GUEST if MODE == "inside" else "169.254.98.2"
"""The director's address there. Without a guest it is one that no other network of this machine has."""

_OUTSIDE = "169.254.98.1"
_CARD = "page"


def card_of_guest(port: int) -> str:
    """Return the words for QEMU that give a guest the network card. `port` of this machine's loopback leads to it."""
    return f"-nic user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{port}-{_IN_GUEST}:{PORT}"


def free_port() -> int:
    """Return a port of this machine's loopback that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextlib.contextmanager
def offered(topology: Topology, folder: Path) -> Iterator[tuple[Path, str]]:
    """Write the daemon's configuration into `folder`. Give its path and the page's URL, or "" if nobody wants the page.

    Whoever wants it has given this command `--page=URL`. The page can be reached for the length of the block.
    """
    url = next((word.removeprefix("--page=") for word in sys.argv if word.startswith("--page=")), "")
    with connected(topology.director) if url else contextlib.nullcontext():
        yield write_configuration(folder, topology, listen=listen() if url else ""), url


def listen() -> str:
    """Return what the daemon's `listen` must be."""
    return f"{ADDRESS}:{PORT}"


@contextlib.contextmanager
def connected(director: Namespace) -> Iterator[None]:
    """Connect the director to where the browser is, for the length of the block. Call it on the director's machine.

    Raises `CommandError`.
    """
    if MODE == "inside":
        subprocess.run(["modprobe", "virtio_net"], check=True)
        card = next(path.name for path in Path("/sys/class/net").iterdir() if (path / "device").exists())
        ip_batch([f"link set {card} netns {director.name} name {_CARD}"])
        ip_batch([f"address add {ADDRESS}/24 dev {_CARD}", f"link set {_CARD} up"], inside=director)
        yield  # the guest ends, and the card with it
        return
    ip_batch([f"link add {_CARD} type veth peer name {_CARD} netns {director.name}"])
    try:
        ip_batch([f"address add {_OUTSIDE}/30 dev {_CARD}", f"link set {_CARD} up"])
        ip_batch([f"address add {ADDRESS}/30 dev {_CARD}", f"link set {_CARD} up"], inside=director)
        yield
    finally:
        ip_batch([f"link delete {_CARD}"])
