"""Reads the kernel's list of connections from /proc/net/ip_vs_conn, selects lines by service and decodes them.

Format: net/netfilter/ipvs/ip_vs_conn.c, ip_vs_conn_seq_show. Each read returns 4 KiB, and to find its place the kernel
goes through the list from the start. So a million connections take minutes, whichever program reads them.
"""

import ipaddress
import socket
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import msgspec

from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.ipvs.words import AF_INET6, PROTOCOL_NAMES
from lvs_healthd.runtime.netns import Netns, NetnsError

FILE = Path("/proc/thread-self/net/ip_vs_conn")
"""The list in the thread's network namespace. /proc/net would lead to the list in the process's namespace."""

_BLOCK_BYTES = 32 * 1024
_COLUMNS = 9
"""The number of columns that each line has: protocol, three addresses with their ports, state, seconds. The persistence
engine's name and data may follow."""


class Connection(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One connection, or a persistence template: the entry that binds a client to its real server."""

    protocol: str
    """tcp, udp or sctp; "ip" for the template of a firewall mark."""
    expires_s: int
    """Seconds until the kernel forgets the connection, unless another packet arrives."""
    state: str
    """The kernel's name for the state; NONE or ASSURED for a template."""
    client: str
    """The client's address:port. The port is 0 for a template."""
    virtual: str
    """The service's address:port. In the template of a firewall mark the address is the mark."""
    destination: str
    """The real server's address:port."""
    engine: str
    """The persistence engine's name and data; usually empty."""


def blocks(netns: Netns, file: Path = FILE) -> Iterator[bytes]:
    """Read the list without its header line, in blocks of whole lines.

    Each read blocks until the kernel answers, so call this in a thread. Raises `TableUnavailableError`.
    """
    try:
        with netns.entered():
            opened = file.open("rb", buffering=0)  # an open file can be read outside the namespace too
        with opened as listed:
            rest, gathered = b"", listed.read(_BLOCK_BYTES).partition(b"\n")[2]
            while gathered:
                # A read returns at most one page, so gather several for each block.
                while len(gathered) < _BLOCK_BYTES and (more := listed.read(_BLOCK_BYTES)):
                    gathered += more
                whole, newline, rest = (rest + gathered).rpartition(b"\n")
                yield whole + newline
                gathered = listed.read(_BLOCK_BYTES)
            if rest:
                yield rest
    except NetnsError as error:
        raise TableUnavailableError(str(error)) from error
    except OSError as error:
        raise TableUnavailableError(f"{file}: {error.strerror}") from error


def chooser(service: ServiceKey, servers: Collection[DestinationKey]) -> Callable[[bytes], bool]:
    """Return a function that says whether a line of the list belongs to a service.

    service: the service.
    servers: its real servers. They matter only for a firewall mark, because the list does not show a connection's mark.
        A connection to one of these servers counts as one of the mark's connections.
    """
    if service.fwmark:
        targets = {(_hexadecimal(key.family, key.address), b"%04X" % key.port) for key in servers}
        addresses = {address for address, port in targets if port == b"0000"}

        def is_to_its_servers(line: bytes) -> bool:
            columns = line.split(None, 7)
            return len(columns) > 7 and (columns[5] in addresses or (columns[5], columns[6]) in targets)

        return is_to_its_servers
    protocol = PROTOCOL_NAMES.get(service.protocol, "").upper().encode()
    address, port = _hexadecimal(service.family, service.address), b"%04X" % service.port

    def is_through_it(line: bytes) -> bool:
        columns = line.split(None, 5)
        return columns[0] == protocol and columns[3] == address and (not service.port or columns[4] == port)

    return is_through_it


def decode(line: bytes) -> Connection:
    """Decode one line. Raises `ValueError`."""
    columns = line.split(None, _COLUMNS)
    if len(columns) < _COLUMNS:
        raise ValueError(f"{len(columns)} columns, expected {_COLUMNS}")
    protocol, *ends, state, seconds = columns[:_COLUMNS]
    client, virtual, destination = (_endpoint(*ends[start : start + 2]) for start in (0, 2, 4))
    return Connection(
        protocol=protocol.decode("ascii").lower(),
        expires_s=int(seconds),
        state=state.decode("ascii"),
        client=client,
        virtual=virtual,
        destination=destination,
        engine=b" ".join(columns[_COLUMNS:]).decode("utf-8", "backslashreplace").strip(),
    )


def _hexadecimal(family: int, address: str) -> bytes:
    """Format an address as the list does: IPv4 as a hexadecimal number, IPv6 written out in full."""
    if family == AF_INET6:
        return ipaddress.IPv6Address(address).exploded.encode()
    return b"%08X" % int.from_bytes(socket.inet_aton(address), "big")


def _endpoint(address: bytes, port: bytes) -> str:
    if b":" in address:
        return f"[{ipaddress.IPv6Address(address.decode('ascii'))}]:{int(port, 16)}"
    return f"{socket.inet_ntoa(bytes.fromhex(address.decode('ascii')))}:{int(port, 16)}"
