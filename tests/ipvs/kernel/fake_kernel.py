"""A fake kernel at the other end of the netlink channel: it decodes requests and answers from a `MemoryTable`.

It replaces `Channel`, so that tests run all of the client's code, including the codec, and can cause every kind of
trouble on the wire.
"""

import contextlib
import errno
import struct
from collections import deque
from collections.abc import AsyncIterator, Sequence

from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.kernel import codec
from lvs_healthd.ipvs.kernel.channel import Channel
from lvs_healthd.ipvs.kernel.genetlink import NLM_F_DUMP_INTR, Listed, Message, attribute, messages
from lvs_healthd.ipvs.records import DestinationRecord, Operation, ServiceKey, ServiceRecord, Verb
from lvs_healthd.ipvs.words import AF_INET, AF_INET6, ForwardingMethod

_GENL = bytes(4)
_VERBS = {
    1: Verb.ADD_SERVICE,
    2: Verb.SET_SERVICE,
    3: Verb.DELETE_SERVICE,
    5: Verb.ADD_SERVER,
    6: Verb.SET_SERVER,
    7: Verb.DELETE_SERVER,
}


class FakeKernel(Channel):
    """Answers like the kernel. `family` is the number of the IPVS family; 0 while the module is not loaded."""

    def __init__(self, *, deadline_s: float = 60.0) -> None:
        super().__init__(deadline_s)
        self.table = MemoryTable()
        self.family = 31
        self.sends: list[list[Message]] = []
        self.refuse_all = 0
        """The errno with which every request fails; 0 for none."""
        self.lose_answers_after: int | None = None
        """How many acknowledgements the receive buffer holds before it overflows; None for no limit."""
        self.is_silent = False
        self.interrupted_dumps = 0
        """How many lists are still to come that the table changed under."""
        self.interrupted_after = 0
        """How many lists are whole before them."""
        self.lists_at_once = 3
        """How many lists one exchange answers. The real channel answers as many as the time allows."""
        self.is_garbled = False
        self.closed = 0
        self._answers: deque[bytes] = deque()
        self._has_overflowed = False

    def connect(self) -> None:  # type: ignore[override]  # there is no socket
        pass

    def close(self) -> None:
        self.closed += 1
        self._answers.clear()

    @contextlib.asynccontextmanager
    async def exchange(self) -> AsyncIterator[None]:
        async with super().exchange():
            yield

    async def send(self, data: bytes) -> None:
        requests = list(messages(data))
        self.sends.append(requests)
        for request in requests:
            await self._serve(request)

    async def dumps(self, requests: Sequence[tuple[bytes, int]]) -> list[Listed]:
        answers = []
        for request, sequence in requests[: self.lists_at_once]:
            await self.send(request)
            gathered: list[Message] = []
            while not gathered or gathered[-1].type not in (2, 3):
                gathered += [message for message in await self.receive() if message.sequence == sequence]
            *held, end = gathered
            is_interrupted = any(message.flags & NLM_F_DUMP_INTR for message in gathered)
            answers.append(Listed([message.payload for message in held], end, is_interrupted))
        return answers

    async def receive(self) -> list[Message]:
        if self.is_silent or not (self._answers or self._has_overflowed):
            raise TimeoutError  # what asyncio.timeout raises after a wait
        if self._has_overflowed:
            self._has_overflowed = False
            raise OSError(errno.ENOBUFS, "No buffer space available")
        return list(messages(self._answers.popleft()))

    def receive_held(self) -> list[Message]:
        held = [message for answer in self._answers for message in messages(answer)]
        self._answers.clear()
        return held

    async def _serve(self, request: Message) -> None:
        command = request.payload[0]
        if self.refuse_all:
            self._acknowledge(request, self.refuse_all)
        elif request.type == 16:
            self._serve_family(request)
        elif request.type != self.family:
            self._acknowledge(request, errno.ENOENT)
        elif command in _VERBS:
            (result,) = await self.table.apply([_operation(_VERBS[command], request.payload)])
            assert result.errno is not None
            self._acknowledge(request, result.errno)
        elif command == codec.CMD_GET_INFO:
            version = attribute(1, struct.pack("=I", 0x010201)) + attribute(2, struct.pack("=I", 4096))
            self._reply(request, _GENL + version)
            self._acknowledge(request, 0)
        elif request.flags & 0x300 == 0x300:
            await self._dump(request, command)
        else:
            await self._get_service(request)

    def _serve_family(self, request: Message) -> None:
        if self.family:
            self._reply(request, _GENL + attribute(1, struct.pack("=H", self.family)))
        self._acknowledge(request, 0 if self.family else errno.ENOENT)

    async def _get_service(self, request: Message) -> None:
        found = await self.table.read_services([_service_key(request.payload)])
        for entry in found.values():
            self._reply(request, _GENL + self._listed_service(entry.service))
        self._acknowledge(request, 0 if found else errno.ESRCH)

    async def _dump(self, request: Message, command: int) -> None:
        flags = 0x2
        if self.interrupted_after:
            self.interrupted_after -= 1
        elif self.interrupted_dumps:
            self.interrupted_dumps -= 1
            flags |= 0x10
        table = await self.table.read()
        if command == codec.CMD_GET_SERVICE:
            parts = [self._listed_service(entry.service) for entry in table.values()]
        else:
            entry = table.get(_service_key(request.payload))
            parts = [self._listed_server(entry.service, one) for one in entry.destinations.values()] if entry else []
        if self.is_garbled:
            parts = [attribute(9, b"?")]
        stale = _frame(request._replace(sequence=request.sequence - 1), 31, 0, _GENL)
        self._answers.append(stale + b"".join(_frame(request, self.family, flags, _GENL + part) for part in parts))
        self._answers.append(_frame(request, 3, flags, struct.pack("=i", 0)))

    def _listed_service(self, service: ServiceRecord) -> bytes:
        row = self.table.row(service.key, None)
        return _with_last_nest(_GENL + codec.encode_service(service), _statistics(row))[4:]

    def _listed_server(self, service: ServiceRecord, server: DestinationRecord) -> bytes:
        row = self.table.row(service.key, server.key)
        connections = b"".join(attribute(7 + number, row[8 * number : 8 * number + 4]) for number in range(3))
        return _with_last_nest(_GENL + codec.encode_destination(server), connections + _statistics(row))[4:]

    def _reply(self, request: Message, payload: bytes) -> None:
        self._answers.append(_frame(request, request.type, 0, payload))

    def _acknowledge(self, request: Message, code: int) -> None:
        if self.lose_answers_after is not None and len(self._answers) >= self.lose_answers_after:
            self._has_overflowed = True
        else:
            self._answers.append(_frame(request, 2, 0x100, struct.pack("=i", -code) + bytes(16)))


def _statistics(row: bytes) -> bytes:
    """Encode the counters of a row as the kernel does: once with 64 bits, and once with 32 for old programs."""
    numbers = [struct.unpack_from("=Q", row, 24 + 12 * number)[0] for number in range(10)]
    wide = [attribute(1 + kind, struct.pack("=Q", number)) for kind, number in enumerate(numbers)]
    is_wide = [False, False, False, True, True, False, False, False, False, False]
    old = [
        wide[kind] if is_wide[kind] else attribute(1 + kind, struct.pack("=I", number & 0xFFFFFFFF))
        for kind, number in enumerate(numbers)
    ]
    return attribute(10, b"".join(old)) + attribute(12, b"".join(wide))


def _frame(request: Message, kind: int, flags: int, payload: bytes) -> bytes:
    header = struct.pack("=IHHII", 16 + len(payload), kind, flags, request.sequence, 0)
    return header + payload + bytes(-len(payload) % 4)


def _operation(verb: Verb, payload: bytes) -> Operation:
    """Decode a write. A delete carries only keys, and the table needs no more."""
    if verb in (Verb.ADD_SERVICE, Verb.SET_SERVICE):
        return Operation(verb, codec.decode_service(payload))
    key = _service_key(payload)
    service = ServiceRecord(key, "")
    if verb is Verb.DELETE_SERVICE:
        return Operation(verb, service)
    if verb is Verb.DELETE_SERVER:
        family = AF_INET6 if payload.find(struct.pack("=HHH", 6, 11, AF_INET6)) > 0 else AF_INET
        # Add the method and weight, which a delete leaves out.
        whole = _with_last_nest(payload, attribute(3, struct.pack("=I", 0)) + attribute(4, struct.pack("=I", 0)))
        found = codec.decode_destination(whole, family)
        return Operation(verb, service, DestinationRecord(found.key, ForwardingMethod.MASQ, 0))
    return Operation(verb, service, codec.decode_destination(payload, AF_INET))


def _service_key(payload: bytes) -> ServiceKey:
    length = struct.unpack_from("=H", payload, 4)[0]
    whole = _with_last_nest(payload[: 4 + length], attribute(6, b"x\0"))
    return codec.decode_service(whole).key


def _with_last_nest(payload: bytes, more: bytes) -> bytes:
    """Append attributes to the last nested attribute of a message."""
    position = 4
    while position + struct.unpack_from("=H", payload, position)[0] < len(payload):
        position += struct.unpack_from("=H", payload, position)[0]
    length, kind = struct.unpack_from("=HH", payload, position)
    return payload[:position] + struct.pack("=HH", length + len(more), kind) + payload[position + 4 :] + more
