"""The opening and closing handshakes of WebSocket, as a client makes them (RFC 6455). Sans-I/O."""

import base64
import hashlib
import secrets
import struct
from collections.abc import Container, Iterable

from lvs_healthd.probes.exchange import quote
from lvs_healthd.probes.http_headers import Fields
from lvs_healthd.probes.outcome import Outcome, Reason, down

UPGRADE = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))
"""Headers of the request, beside `Connection: Upgrade` and the key (section 4.1)."""

WANTED = frozenset(
    (b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-protocol", b"sec-websocket-extensions")
)
"""The headers of the answer that a client must examine, in lower case."""

_KEY_BYTES = 16
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What every server appends to the key (section 1.3)."""

_FINAL_CLOSE = 0x88
"""The last fragment of a close frame (section 5.2)."""
_MASKED = 0x80
_NORMAL_CLOSURE = struct.pack("!H", 1000)
"""The status code of a connection that has done what it was for (section 7.4.1)."""
_MASK_BYTES = 4


def new_key() -> bytes:
    """Return a key for one handshake. A new one each time shows that the answer is none that somebody has kept."""
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES))


def close_frame() -> bytes:
    """Return a frame that ends the WebSocket in good order. A client masks what it sends (section 5.3)."""
    mask = secrets.token_bytes(_MASK_BYTES)
    masked = bytes(byte ^ mask[at] for at, byte in enumerate(_NORMAL_CLOSURE))
    return bytes((_FINAL_CLOSE, _MASKED | len(masked))) + mask + masked


def subprotocols(headers: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Return the subprotocols that these headers of a request offer (section 11.3.4)."""
    texts = (text for name, text in headers if name.lower() == "sec-websocket-protocol")
    return frozenset(part for text in texts for part in _list(text))


def handshake_fault(key: bytes, fields: Fields, offered: Container[str], hidden: tuple[bytes, ...]) -> Outcome | None:
    """Return the outcome of an answer 101 that a client must refuse (section 4.1); None of one that it accepts.

    key: the key that was sent.
    fields: at least the headers of the answer in `WANTED`.
    offered: the subprotocols that were offered.
    hidden: parts of secrets, which the outcome does not show.
    """
    # SHA-1 protects nothing here: it shows that the server has read the key.
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    accepted = fields.get(b"sec-websocket-accept", [])
    chosen = _text(fields, b"sec-websocket-protocol")
    if not accepted:
        return _refused("there is no Sec-WebSocket-Accept")
    if accepted != [accept]:
        shown = quote(accepted[0], hidden=hidden)
        return _refused(f"Sec-WebSocket-Accept {shown} does not belong to the key of this probe")
    if _text(fields, b"upgrade").lower() != "websocket":
        return _refused("there is no Upgrade: websocket")
    if "upgrade" not in _list(_text(fields, b"connection").lower()):
        return _refused("there is no Connection: Upgrade")
    if chosen and chosen not in offered:
        return _refused(f"it chose the subprotocol {quote(chosen.encode(), hidden=hidden)}, which was not offered")
    if _text(fields, b"sec-websocket-extensions"):
        return _refused("it chose an extension, and none was offered")
    return None


def _refused(what: str) -> Outcome:
    return down(Reason.BAD_ANSWER, f"status 101, but no WebSocket that clients accept: {what}")


def _text(fields: Fields, name: bytes) -> str:
    """Return the values of a header in one line (RFC 9110, section 5.3)."""
    return b", ".join(fields.get(name, [])).decode("latin-1")


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]
