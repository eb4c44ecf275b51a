"""A blocking generic netlink conversation without the daemon's client: it sends requests and returns raw answers."""

import itertools
import socket
from collections.abc import Iterator, Sequence

from lvs_healthd.ipvs.kernel import codec, genetlink
from lvs_healthd.ipvs.kernel.genetlink import NLM_F_ACK, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR
from lvs_healthd.ipvs.records import Operation

NETLINK_GENERIC = 16
_BUFFER_BYTES = 4 << 20
_SO_RCVBUFFORCE = 33
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_RECEIVE_BYTES = 65536

BATCH = 128
"""How many writes go into one send: as many as in the daemon."""


class Conversation:
    """Sends requests to IPVS over a connected socket. `kernel_socket` makes one to the kernel."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sequences = itertools.count(1)
        self.family = 0

    def open(self) -> bytes:
        """Find the family's number, and return the raw answer."""
        name = genetlink.family_name(codec.FAMILY_NAME)
        found = self.ask(genetlink.GENL_ID_CTRL, genetlink.CTRL_CMD_GETFAMILY, name, NLM_F_ACK)
        self.family = genetlink.family_id(next(genetlink.messages(found)).payload)
        return found

    def ask(self, family: int, command: int, attributes: bytes, flags: int) -> bytes:
        """Make one request, and return the raw answers including the acknowledgement."""
        self._socket.send(request(family, command, attributes, flags, next(self._sequences)))
        found = b""
        while True:
            data = self._socket.recv(_RECEIVE_BYTES)
            found += data
            if any(message.type in (NLMSG_ERROR, NLMSG_DONE) for message in genetlink.messages(data)):
                return found

    def dump(self, command: int, attributes: bytes = b"") -> bytes:
        """Ask for a list."""
        return self.ask(self.family, command, attributes, NLM_F_DUMP)

    def raw(self, batch: bytes) -> bytes:
        """Send one write, and return its raw acknowledgement."""
        self._socket.send(batch)
        return self._socket.recv(_RECEIVE_BYTES)

    def encoded(self, operations: Sequence[Operation]) -> list[bytes]:
        """Encode writes in batches that are ready to be sent."""
        return [
            b"".join(
                request(self.family, *codec.encode(operation), NLM_F_ACK, next(self._sequences)) for operation in batch
            )
            for batch in _batches(operations)
        ]

    def write(self, batch: bytes) -> list[int]:
        """Send a batch, wait for all acknowledgements, and return their errno values."""
        waiting = sum(1 for _ in genetlink.messages(batch))
        self._socket.send(batch)
        codes: list[int] = []
        while len(codes) < waiting:
            received = genetlink.messages(self._socket.recv(_RECEIVE_BYTES))
            codes += [genetlink.answer(message).errno for message in received]
        return codes


def request(family: int, command: int, attributes: bytes, flags: int, sequence: int) -> bytes:
    """Frame one request."""
    version = genetlink.CTRL_VERSION if family == genetlink.GENL_ID_CTRL else codec.VERSION
    return genetlink.request(family, command, attributes, flags=flags, sequence=sequence, version=version)


def kernel_socket() -> socket.socket:
    """Open a blocking netlink socket with the daemon's options: large buffer, short acknowledgements. It needs root."""
    connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC)
    connection.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
        connection.setsockopt(_SOL_NETLINK, option, 1)
    connection.bind((0, 0))
    return connection


def _batches(operations: Sequence[Operation]) -> Iterator[Sequence[Operation]]:
    for start in range(0, len(operations), BATCH):
        yield operations[start : start + BATCH]
