"""A stand-in for the kernel's IPVS on machines without it: recorded generic netlink frames over a Unix socket.

It is a separate program: `python -m bench.recorded_kernel SOCKET TALLY`. Its answers are the lab kernel's bytes
(`recorded.json`, made by `python -m bench.record`), in which it replaces the recorded values by those of the request.
It has a table, so its dumps are correct. Like the kernel, it processes all requests of one send in order and answers
each write with a separate datagram.

TALLY is a file to be mapped: it has the number of writes and the time at which the last one was acknowledged. On
SIGTERM the program prints one JSON line with all writes: `[[moment, command, errno], ...]`, in CLOCK_MONOTONIC times.
"""

import contextlib
import errno
import json
import mmap
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lvs_healthd.ipvs.kernel import genetlink
from lvs_healthd.ipvs.kernel.genetlink import (
    GENL_HEADER_BYTES,
    HEADER_BYTES,
    NLM_F_DUMP,
    Message,
    attribute,
    attributes,
)

RECORDED = Path(__file__).with_name("recorded.json")

TALLY = struct.Struct("=Qd")
"""The number of writes, and the time of the last acknowledgement."""

_NEW_SERVICE, _SET_SERVICE, _DELETE_SERVICE, _GET_SERVICE = 1, 2, 3, 4
_NEW_DESTINATION, _SET_DESTINATION, _DELETE_DESTINATION, _GET_DESTINATION = 5, 6, 7, 8
_GET_INFO = 15

_WRITES = frozenset(
    {_NEW_SERVICE, _SET_SERVICE, _DELETE_SERVICE, _NEW_DESTINATION, _SET_DESTINATION, _DELETE_DESTINATION}
)

# IPVS_CMD_ATTR_*, IPVS_SVC_ATTR_*, IPVS_DEST_ATTR_*
_SERVICE, _DESTINATION = 1, 2
_SERVICE_KEY = (1, 2, 3, 4, 5)
_SERVICE_ADDRESS, _SERVICE_FLAGS = 3, 7
_DESTINATION_KEY = (1, 2)
_DESTINATION_ADDRESS = 1
_ADDRESS_BYTES = 16
"""For either family the kernel answers with its whole union of addresses."""
_HASHED = 2
"""IP_VS_SVC_F_HASHED, which the kernel sets on every service."""

_HEADER = struct.Struct("=IHHII")
_CODE = struct.Struct("=i")
_PART_BYTES = 32 * 1024
"""A dump comes in parts of at most this size (net/netlink/af_netlink.c)."""
_RECEIVE_BYTES = 1 << 18

Values = dict[int, bytes]
"""Attributes by type."""


class _Entry(NamedTuple):
    body: bytes
    destinations: dict[bytes, bytes]
    """By address and port, encoded as in a dump."""


class RecordedKernel:
    """Has the table and makes the answers. `writes` has (time of acknowledgement, command, errno) for each write."""

    def __init__(self, recorded: Mapping[str, str]) -> None:
        self.writes: list[tuple[float, int, int]] = []
        self._table: dict[bytes, _Entry] = {}
        family, *_ = genetlink.messages(bytes.fromhex(recorded["family"]))
        info, *_ = genetlink.messages(bytes.fromhex(recorded["info"]))
        service, *_ = genetlink.messages(bytes.fromhex(recorded["services"]))
        destination, *_ = genetlink.messages(bytes.fromhex(recorded["destinations"]))
        (acknowledged,) = genetlink.messages(bytes.fromhex(recorded["added"]))
        self._family_answer, self._info_answer = family, info
        self._number = genetlink.family_id(family.payload)
        self._genl_service = service.payload[:GENL_HEADER_BYTES]
        self._genl_destination = destination.payload[:GENL_HEADER_BYTES]
        self._dump_flags = destination.flags
        self._acknowledge_flags = acknowledged.flags
        self._service_pattern = _nested(service.payload, _SERVICE)
        self._destination_pattern = _nested(destination.payload, _DESTINATION)

    def serve(self, data: bytes) -> Iterator[bytes]:
        """Process the requests of one send, and yield the answers, each of them a datagram."""
        for request in genetlink.messages(data):
            command = request.payload[0]
            if request.type == genetlink.GENL_ID_CTRL:
                yield _frame(self._family_answer.type, 0, request.sequence, self._family_answer.payload)
                yield self._acknowledgement(request, 0)
            elif request.type != self._number:
                yield self._acknowledgement(request, errno.ENOENT)
            elif command in _WRITES:
                code = self._write(command, request.payload)
                yield self._acknowledgement(request, code)
                self.writes.append((time.monotonic(), command, code))
            elif request.flags & NLM_F_DUMP == NLM_F_DUMP:
                yield from self._dump(request, command)
            else:
                yield from self._get(request, command)

    def _write(self, command: int, payload: bytes) -> int:
        service = _nested(payload, _SERVICE)
        key = _key(service, _SERVICE_KEY)
        entry = self._table.get(key)
        if command == _NEW_SERVICE and entry is not None:
            return errno.EEXIST
        if command != _NEW_SERVICE and entry is None:
            return errno.ESRCH
        if command == _DELETE_SERVICE:
            del self._table[key]
        elif command in (_NEW_SERVICE, _SET_SERVICE):
            body = _encode(self._service_pattern, _as_listed(service), _SERVICE)
            self._table[key] = _Entry(self._genl_service + body, entry.destinations if entry else {})
        elif entry is not None:
            return self._write_destination(command, entry.destinations, _nested(payload, _DESTINATION))
        return 0

    def _write_destination(self, command: int, destinations: dict[bytes, bytes], values: Values) -> int:
        key = _key(values, _DESTINATION_KEY)
        if (key in destinations) == (command == _NEW_DESTINATION):
            return errno.EEXIST if command == _NEW_DESTINATION else errno.ENOENT
        if command == _DELETE_DESTINATION:
            del destinations[key]
        else:
            values[_DESTINATION_ADDRESS] = values[_DESTINATION_ADDRESS].ljust(_ADDRESS_BYTES, b"\0")
            destinations[key] = self._genl_destination + _encode(self._destination_pattern, values, _DESTINATION)
        return 0

    def _get(self, request: Message, command: int) -> Iterator[bytes]:
        if command == _GET_INFO:
            yield _frame(self._number, 0, request.sequence, self._info_answer.payload)
            yield self._acknowledgement(request, 0)
            return
        entry = self._table.get(_key(_nested(request.payload, _SERVICE), _SERVICE_KEY))
        if entry is not None:
            yield _frame(self._number, 0, request.sequence, entry.body)
        yield self._acknowledgement(request, 0 if entry is not None else errno.ESRCH)

    def _dump(self, request: Message, command: int) -> Iterator[bytes]:
        bodies: list[bytes] = []
        if command == _GET_SERVICE:
            bodies = [entry.body for entry in self._table.values()]
        elif entry := self._table.get(_key(_nested(request.payload, _SERVICE), _SERVICE_KEY)):
            bodies = list(entry.destinations.values())
        part = bytearray()
        for body in bodies:
            if len(part) + HEADER_BYTES + len(body) > _PART_BYTES:
                yield bytes(part)
                part.clear()
            part += _frame(self._number, self._dump_flags, request.sequence, body)
        if part:
            yield bytes(part)
        yield _frame(genetlink.NLMSG_DONE, self._dump_flags, request.sequence, _CODE.pack(0))

    def _acknowledgement(self, request: Message, code: int) -> bytes:
        length = HEADER_BYTES + len(request.payload)
        echo = _HEADER.pack(length, request.type, request.flags, request.sequence, 0)
        return _frame(genetlink.NLMSG_ERROR, self._acknowledge_flags, request.sequence, _CODE.pack(-code) + echo)


def main() -> None:
    """Serve until SIGTERM, then print the writes."""
    path, tally_file = sys.argv[1:3]
    kernel = RecordedKernel(json.loads(RECORDED.read_text(encoding="ascii")))
    signal.signal(signal.SIGTERM, _end)
    with (
        Path(tally_file).open("r+b") as file,
        mmap.mmap(file.fileno(), TALLY.size) as tally,
        contextlib.suppress(_EndedError),
    ):
        _serve(path, kernel, tally)
    print(json.dumps(kernel.writes), flush=True)


def _serve(path: str, kernel: RecordedKernel, tally: mmap.mmap) -> None:
    with selectors.DefaultSelector() as selector, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(path)
        listening.listen()
        selector.register(listening, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listening:
                    selector.register(listening.accept()[0], selectors.EVENT_READ)
                    continue
                connection = key.fileobj
                assert isinstance(connection, socket.socket)  # noqa: S101  # nothing else was registered
                try:
                    data = connection.recv(_RECEIVE_BYTES)
                except ConnectionResetError:  # it ended before it had read all answers
                    data = b""
                if not data:
                    selector.unregister(connection)
                    connection.close()
                    continue
                # Like the kernel, finish all writes of a send before the sender can read the first answer.
                answers = list(kernel.serve(data))
                # Written before the answers, so that whoever has an answer finds its write counted.
                TALLY.pack_into(tally, 0, len(kernel.writes), time.monotonic())
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    for answer in answers:
                        connection.send(answer)


class _EndedError(Exception):
    """SIGTERM came."""


def _end(_number: int, _frame: object) -> None:
    raise _EndedError


def _frame(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    length = HEADER_BYTES + len(payload)
    return _HEADER.pack(length, kind, flags, sequence, 0) + payload + bytes(-length % 4)


def _nested(payload: bytes, kind: int) -> Values:
    start, end = attributes(payload, GENL_HEADER_BYTES, len(payload))[kind]
    return {inner: payload[first:last] for inner, (first, last) in attributes(payload, start, end).items()}


def _key(values: Values, kinds: tuple[int, ...]) -> bytes:
    return b"|".join(values.get(kind, b"") for kind in kinds)


def _as_listed(service: Values) -> Values:
    """Return a service's attributes as the kernel lists them."""
    flags, mask = struct.unpack("=II", service[_SERVICE_FLAGS])
    listed = struct.pack("=II", flags | _HASHED, mask)
    changed = {_SERVICE_FLAGS: listed}
    if _SERVICE_ADDRESS in service:
        changed[_SERVICE_ADDRESS] = service[_SERVICE_ADDRESS].ljust(_ADDRESS_BYTES, b"\0")
    return {**service, **changed}


def _encode(pattern: Values, values: Values, kind: int) -> bytes:
    """Encode the pattern with `values` in place of its own. Attributes without a new value stay as recorded."""
    merged = {**pattern, **values}
    return attribute(kind, b"".join(attribute(inner, value) for inner, value in merged.items()))


if __name__ == "__main__":
    main()
