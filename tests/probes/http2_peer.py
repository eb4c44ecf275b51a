"""A peer that speaks HTTP/2 with a conversation of ours, by python-hyper's h2 and by frames written by hand."""

import asyncio
import struct
from collections.abc import Callable, Iterable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from lvs_healthd.probes.exchange import Exchange, Farewell, Step
from lvs_healthd.probes.outcome import Outcome
from tests.probes.peers import Behaviour

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def goaway(last: int, code: int = 0) -> bytes:
    return frame(GOAWAY, struct.pack("!II", last, code))


Fields = list[tuple[str, str]]
Answer = Callable[["Peer", int, dict[str, str], bytes], None]
"""Answers a request: the peer, the stream, the headers and the body."""


class Peer:
    """A server."""

    def __init__(self, answer: Answer) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._answer = answer
        self._asked: dict[int, tuple[dict[str, str], bytes]] = {}
        self.raw = b""
        """Bytes to send besides those of `h2`."""

    def greeting(self) -> bytes:
        self.h2.initiate_connection()
        return self.h2.data_to_send()

    def heard(self, data: bytes) -> bytes:
        for event in self.h2.receive_data(data):
            match event:
                case RequestReceived():
                    headers = {str(name): str(value) for name, value in event.headers}
                    self._asked[event.stream_id] = headers, b""
                case DataReceived():
                    headers, body = self._asked[event.stream_id]
                    self._asked[event.stream_id] = headers, body + event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case StreamEnded():
                    self._answer(self, event.stream_id, *self._asked[event.stream_id])
        said, self.raw = self.h2.data_to_send() + self.raw, b""
        return said

    def say(self, stream: int, fields: Fields, *body: bytes, end: bool = True, trailers: Fields | None = None) -> None:
        """Send an answer, with each part of the body in a frame of its own."""
        is_over = end and trailers is None
        self.h2.send_headers(stream, fields, end_stream=is_over and not body)
        for number, part in enumerate(body, 1):
            self.h2.send_data(stream, part, end_stream=is_over and number == len(body))
        if trailers is not None:
            self.h2.send_headers(stream, trailers, end_stream=True)


def says(status: int, body: bytes = b"", *fields: tuple[str, str]) -> Answer:
    """Return what answers every request alike."""
    parts = [body[at : at + 16384] for at in range(0, len(body), 16384)]
    return lambda peer, stream, _headers, _body: peer.say(stream, [(":status", str(status)), *fields], *parts)


class Talk:
    """What a conversation and a peer have said."""

    def __init__(self, begin: Callable[[], Exchange]) -> None:
        self.exchange = begin()
        self.sent = b""
        """All that the conversation has sent."""
        self.last: Step = None

    def hear(self, data: bytes) -> bytes:
        """Pass bytes to the conversation. Return what it sends."""
        return self._obey(self.exchange.received(data)) if not self.is_over else b""

    def begin(self) -> bytes:
        return self._obey(self.exchange.connected())

    def _obey(self, step: Step) -> bytes:
        self.last = step
        data = step.data if isinstance(step, Farewell) else step if isinstance(step, bytes) else b""
        self.sent += data
        return data

    @property
    def is_over(self) -> bool:
        return isinstance(self.last, Farewell | Outcome)

    @property
    def outcome(self) -> Outcome:
        found = self.last.outcome if isinstance(self.last, Farewell) else self.last
        assert isinstance(found, Outcome), found
        return found


def talk(begin: Callable[[], Exchange], answer: Answer, *, cut: int | None = None) -> Talk:
    """Let a conversation talk to a peer until the conversation is over, or both are silent.

    cut: the size of the pieces in which the peer's bytes arrive; None for as they are sent.
    """
    made, peer = Talk(begin), Peer(answer)
    to_peer, to_us = made.begin(), peer.greeting()
    while (to_peer or to_us) and not made.is_over:
        to_us += peer.heard(to_peer) if to_peer else b""
        size = cut or len(to_us)
        to_peer = b"".join(made.hear(to_us[at : at + size]) for at in range(0, len(to_us), size or 1))
        to_us = b""
    return made


def talk_raw(begin: Callable[[], Exchange], pieces: Iterable[bytes]) -> Talk:
    """Let a conversation hear these bytes, whatever it says."""
    made = Talk(begin)
    made.begin()
    for piece in pieces:
        made.hear(piece)
    return made


def over_network(answer: Answer, before: bytes = b"") -> Behaviour:
    """Return the behaviour of a server that expects the bytes `before`, and then speaks HTTP/2."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(before)) == before
        peer = Peer(answer)
        writer.write(peer.greeting())
        while data := await reader.read(65536):
            writer.write(peer.heard(data))
            await writer.drain()

    return behave
