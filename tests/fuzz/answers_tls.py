"""What servers with TLS say, inside it and before it, and the checks that they are given to."""

import tempfile
from pathlib import Path
from typing import Any

from lvs_healthd.config.check_model import (
    Carrier,
    ConversationStep,
    DnsCheck,
    GrpcCheck,
    HttpsCheck,
    Kept,
    TcpCheck,
    Tls,
)
from tests.fuzz.answers_http import BODIES, CHUNKS, HEADS
from tests.fuzz.answers_http import WORDS as HTTP_WORDS
from tests.fuzz.answers_http2 import framed
from tests.fuzz.answers_plain import GREETED, MESSAGES, SPOKEN, identified
from tests.fuzz.subject import Authority, Secured, Subject, secured, seeded
from tests.probes.http2_peer import SETTINGS, frame

_PLACE: dict[str, Any] = {"name": "check", "address": "192.0.2.1", "port": 1}
_ANYBODY = Tls(verify=False)
_BEGIN_TLS = ConversationStep(starttls=True)
_WORDS = (
    *(b"\x15\x03\x03\x00\x02\x02\x28", b"\x15\x03\x03\x00\x02\x01\x00", b"\x16\x03\x03", b"\x17\x03\x03\x00\x10"),
    *(b"\x14\x03\x03\x00\x01\x01", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail\r\n", b"250 ok\r\n"),
)
_RECORDS = (
    *(
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00",
        b"HTTP/1.1 400 Bad\r\n\r\n",
        b"\x80\x2e",
    ),
    b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03" + bytes(32) + b"\x00\x13\x01\x00",
)
_NOT_TLS, _WITHIN = 0x80, 0xC0
"""Values of `manner` (`tests.fuzz.peers.TlsPeer`)."""


def _variants(ca: str) -> tuple[Secured, ...]:
    trusting = Tls(ca=ca, sni="web.example")
    return (
        Secured(HttpsCheck(**_PLACE, host="web.example", tls=_ANYBODY, body="ok")),
        Secured(HttpsCheck(**_PLACE, host="web.example", tls=trusting), alpn="http/1.1"),
        Secured(HttpsCheck(**_PLACE, host="web.example", tls=Tls(ca=ca, sni="other.example"))),
        Secured(HttpsCheck(**_PLACE, host="web.example", tls=_ANYBODY, kept=Kept())),
        Secured(
            HttpsCheck(**_PLACE, host="web.example", tls=_ANYBODY, http_version="2", redirects=2), framed, alpn="h2"
        ),
        Secured(GrpcCheck(**_PLACE, authority="web.example:1", over=Carrier.TLS, tls=_ANYBODY), framed, alpn="h2"),
        Secured(DnsCheck(**_PLACE, query="www.example.org", over=Carrier.TLS, tls=_ANYBODY), identified),
        Secured(TcpCheck(**_PLACE, tls=_ANYBODY, steps=(_BEGIN_TLS, *GREETED))),
        Secured(
            HttpsCheck(
                **_PLACE,
                host="web.example",
                tls=_ANYBODY,
                requests=(
                    HttpsCheck(**_PLACE, host="web.example", tls=_ANYBODY, body="ok"),
                    HttpsCheck(**_PLACE, host="web.example", tls=_ANYBODY),
                ),
            )
        ),
    )


_STARTTLS = (
    Secured(
        TcpCheck(
            **_PLACE, tls=_ANYBODY, steps=(GREETED[0], ConversationStep(send=b"STARTTLS\r\n"), _BEGIN_TLS, *GREETED)
        ),
        words=(b"220 mail\r\n",),
    ),
    Secured(
        TcpCheck(
            **_PLACE,
            tls=_ANYBODY,
            steps=(*GREETED[:3], ConversationStep(send=b"STARTTLS\r\n"), GREETED[0], _BEGIN_TLS, *GREETED[1:]),
        ),
        words=(b"220-wait\r\n220 mail\r\n", b"250 ok\r\n", b"220 go\r\n"),
    ),
)
_INSIDE = (*HEADS, *BODIES, *CHUNKS, *SPOKEN, *MESSAGES, frame(SETTINGS))


def subjects() -> tuple[Subject, ...]:
    """Return what uses TLS. It makes certificates, which takes a moment."""
    authority = Authority()
    with tempfile.TemporaryDirectory(prefix="lvs-healthd-fuzz-") as folder:
        variants = _variants(authority.write(Path(folder) / "ca.pem"))
        run = secured(variants, authority)
        run_starttls = secured(_STARTTLS, authority)
    files = ("probes/tls.py", "probes/tls_sessions.py", "probes/tls_words.py")
    raw = seeded(_RECORDS, len(variants), manner=_NOT_TLS) + seeded(_RECORDS, len(variants), manner=_WITHIN, begin=99)
    raw_later = seeded(_RECORDS, 2, manner=_NOT_TLS) + seeded(_RECORDS, 2, manner=_WITHIN, begin=99)
    return (
        Subject("tls", files, run, seeded(_INSIDE, len(variants)) + raw, _WORDS + HTTP_WORDS[:12]),
        Subject("starttls", (*files, "probes/conversation.py"), run_starttls, seeded(SPOKEN, 2) + raw_later, _WORDS),
    )
