"""A connection over HTTP/2 (RFC 9113) that carries a probe's requests, one after another. Sans-I/O.

python-hyper's h2 does the protocol. It is imported only where it is configured, because it takes 10 ms and 1.6 MB.

h2 refuses whatever follows a GOAWAY frame, although a server that shuts down in good order answers the requests under
way after it (section 6.8). So GOAWAY is read here, and h2 never sees it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from lvs_healthd.config.http_values import MOST_HEADER_BYTES
from lvs_healthd.probes.exchange import quote
from lvs_healthd.probes.http2_frames import GOAWAY, FloodError, FrameError, FrameReader, away
from lvs_healthd.probes.outcome import Outcome, Reason, down

_WINDOW = 2**30
"""How many bytes the peer may send without asking again. It is more than the engine takes in one probe, so that no
window needs to be enlarged."""

_LARGEST_DATA = 16384
"""The largest DATA frame that every peer takes, bytes (RFC 9113, section 6.5.2)."""

_FIELD_BYTES = 32
"""What a field counts besides its name and value (RFC 9113, section 6.5.2). One byte may stand for all of it."""

_FIRST_STREAM = 1
_REFUSED_STREAM = 7
"""The error of a stream on which the peer has done nothing (RFC 9113, section 7)."""
_OLD_VERSION = b"HTTP/"
_SHOWN = 80
"""How many bytes of an error are shown. It may quote what the peer has sent."""

Fields = list[tuple[bytes, bytes]]
"""Headers: names in lower case, and values."""


class Request(NamedTuple):
    """One request."""

    fields: Fields
    """The headers, those whose names begin with a colon first (RFC 9113, section 8.3.1)."""
    body: bytes = b""


class Headers(NamedTuple):
    """The headers of an answer, or its trailers if they come after them."""

    fields: Fields
    is_last: bool
    """Whether nothing follows."""


class Data(NamedTuple):
    """Some bytes of an answer's body."""

    data: bytes


class End(NamedTuple):
    """The answer has ended."""


Event = Headers | Data | End | Outcome
"""What has arrived. After an `Outcome`, which is a failure of the connection, there is nothing more."""


class Connection:
    """One connection.

    hidden: parts of secrets, which no outcome shows.
    if_old: what to write if the server speaks HTTP/1.1 only; empty if nothing helps.
    """

    __slots__ = (
        "_fields_bytes",
        "_h2",
        "_hidden",
        "_if_old",
        "_reader",
        "_rest",
        "_start",
        "_stream",
        "has_ended",
        "is_going",
        "is_unheard",
    )

    def __init__(self, hidden: tuple[bytes, ...], if_old: str = "") -> None:
        from h2.config import H2Configuration  # noqa: PLC0415  # see the module's text
        from h2.connection import H2Connection  # noqa: PLC0415
        from h2.settings import SettingCodes, Settings  # noqa: PLC0415

        self._hidden = hidden
        self._if_old = f"; {if_old}" if if_old else ""
        self._h2 = H2Connection(
            # What we send is right already, and what comes is validated.
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: MOST_HEADER_BYTES,
            },
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW)
        self._reader = FrameReader()
        self._fields_bytes = 0
        """The size of all headers so far, not compressed. A field takes 3 µs, so that they take up to 10 ms in all."""
        self._start = b""
        """The first bytes from the peer, until the first frame is whole."""
        self._stream = 0
        """The stream of the request under way; 0 before the first."""
        self._rest = b""
        """What is left to send of the request's body."""
        self.has_ended = False
        """Whether the answer under way has ended."""
        self.is_going = False
        """Whether the peer has said that it takes no further request (GOAWAY)."""
        self.is_unheard = False
        """Whether the peer has said that it has done nothing about the request under way (RFC 9113, section 8.7)."""

    def renew(self) -> None:
        """Let all bounds count from here, because another probe begins."""
        self._reader.renew()
        self._fields_bytes = 0

    def ask(self, request: Request) -> Outcome | None:
        """Send a request, whose bytes `to_send` returns. Return the outcome if the peer allows no request."""
        self._stream = self._stream + 2 if self._stream else _FIRST_STREAM
        self.has_ended = False
        self._rest = request.body
        try:
            self._h2.send_headers(self._stream, request.fields, end_stream=not request.body)
            self._send_rest()
        except Exception as error:  # noqa: BLE001  # whatever the library makes of a stranger's settings
            return self._broken(error)
        return None

    def to_send(self) -> bytes:
        """Return the bytes to send now, which may be none."""
        data: bytes = self._h2.data_to_send()
        return data

    def leave(self) -> bytes:
        """Return the last bytes to send: we cancel an answer that has not ended, and end the connection (GOAWAY)."""
        from h2.errors import ErrorCodes  # noqa: PLC0415  # see the module's text
        from h2.exceptions import ProtocolError  # noqa: PLC0415

        try:
            if not self.has_ended:
                self._h2.reset_stream(self._stream, ErrorCodes.CANCEL)
            self._h2.close_connection()
        except ProtocolError:  # the peer has ended the stream or the connection by itself
            pass
        return self.to_send()

    def end(self) -> None:
        """Break the cycles of references inside h2, because the garbage collector ignores them (`runtime.garbage`)."""
        vars(self._h2).clear()

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take the next bytes from the peer, and yield what they say."""
        if not self._reader.has_begun:
            self._start += data[: _SHOWN - len(self._start)]
            if self._start.startswith(_OLD_VERSION):
                shown = quote(self._start.partition(b"\r")[0], hidden=self._hidden)
                yield down(Reason.PROTOCOL_ERROR, f"no HTTP/2, but {shown}{self._if_old}")
                return
        try:
            for frame in self._reader.feed(data):
                if frame.kind == GOAWAY:
                    last_stream, code = away(frame)
                    self.is_going = True
                    self.is_unheard = last_stream < self._stream
                    if code or last_stream < self._stream:
                        yield down(Reason.CLOSED_EARLY, f"the server ends the connection (GOAWAY): {_code_name(code)}")
                        return
                    continue
                yield from self._take(frame.whole)
        except FloodError as error:
            yield down(Reason.TOO_LARGE, f"{error}, and no end")
        except FrameError as error:
            yield self._broken(error)

    def _take(self, frame: bytes) -> Iterator[Event]:
        """Yield what one frame says."""
        from h2 import events  # noqa: PLC0415  # see the module's text

        try:
            found = self._h2.receive_data(frame)
        except Exception as error:  # noqa: BLE001  # whatever the library makes of a stranger's bytes
            yield self._broken(error)
            return
        for event in found:
            if getattr(event, "stream_id", self._stream) not in (self._stream, 0, None):
                continue  # late frames of an earlier request
            match event:
                case events.InformationalResponseReceived():
                    self._count(event.headers)
                case events.ResponseReceived() | events.TrailersReceived():
                    self._count(event.headers)
                    yield Headers(event.headers, event.stream_ended is not None)
                case events.DataReceived():
                    if event.data:
                        yield Data(event.data)
                case events.StreamEnded():
                    self.has_ended = True
                    yield End()
                case events.StreamReset():
                    self.has_ended = True
                    self.is_unheard = event.error_code == _REFUSED_STREAM
                    why = _code_name(event.error_code)
                    yield down(Reason.RESET, f"the server gave the request up (RST_STREAM): {why}")
                case events.WindowUpdated() | events.RemoteSettingsChanged():
                    try:
                        self._send_rest()
                    except Exception as error:  # noqa: BLE001  # as above
                        yield self._broken(error)
                        return
                case _:
                    pass

    def _count(self, fields: Fields) -> None:
        """Count headers. Raises `FloodError` when there are too many."""
        self._fields_bytes += sum(len(name) + len(value) + _FIELD_BYTES for name, value in fields)
        if self._fields_bytes > MOST_HEADER_BYTES:
            raise FloodError(f"more than {MOST_HEADER_BYTES} bytes of headers")

    def _send_rest(self) -> None:
        """Send as much of the request's body as the peer takes now."""
        while self._rest:
            room = min(self._h2.local_flow_control_window(self._stream), _LARGEST_DATA)
            if room <= 0:
                return
            part, self._rest = self._rest[:room], self._rest[room:]
            self._h2.send_data(self._stream, part, end_stream=not self._rest)

    def _broken(self, error: Exception) -> Outcome:
        text = str(error)
        if not text or text.isdecimal():  # of some errors, only the number of the stream
            text = type(error).__name__
        return down(Reason.PROTOCOL_ERROR, f"broken HTTP/2: {quote(text.encode(), _SHOWN, hidden=self._hidden)}")


def _code_name(code: object) -> str:
    from h2.errors import ErrorCodes  # noqa: PLC0415  # see the module's text

    try:
        return ErrorCodes(code).name  # type: ignore[arg-type]
    except ValueError:
        return f"error {code}"
