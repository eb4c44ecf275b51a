"""Checks of dns, sip and simpletcp, connects and pings."""

import ipaddress
import re

from lvs_healthd.importers.ldirectord.subject import AskError, Check, Subject
from lvs_healthd.importers.ldirectord.web import expectation

_SIP_USER = "ldirectord@director"
"""Stands for the user that ldirectord makes of the director's name if `service=sip` has no login."""


def connect(subject: Subject) -> Check:
    """Return the check of checktype=connect: for udp it is a ping."""
    return ping(subject) if subject.virtual.protocol == "udp" else {"type": "tcp"}


def ping(subject: Subject) -> Check:
    """Return the check of checktype=ping."""
    if subject.virtual.is_v6:
        raise AskError(
            "ldirectord's pings reach no IPv6 address (it puts brackets around it), so these servers never come up: "
            'choose a check such as check = "ping"'
        )
    return {"type": "ping"}


def dns(subject: Subject) -> Check:
    """Return the check of a DNS server: an A record, or for an address a PTR record, must match `receive`."""
    name, receive = subject.request[1:], subject.receive
    if not name or not receive:
        what = "request" if not name else "receive"
        raise AskError(
            f"service=dns without {what} finds no server up: write it, or choose a check such as "
            f'check = {{ type = "dns", query = "{name or "example.org"}" }}'
        )
    check: Check = {"type": "dns", "query": name, "query_type": "A"}
    try:
        check |= {"query": ipaddress.ip_address(name).reverse_pointer, "query_type": "PTR"}
    except ValueError:
        if "." not in name:
            subject.note("request", f"ldirectord adds the director's search list to {name!r}; here nothing is added")
    if subject.virtual.protocol == "tcp":
        check["over"] = "tcp"
    text = _text_of(receive)
    if text is None:
        subject.drop(
            "receive",
            f"a dns check looks for a text and not for an expression such as {receive!r}: write "
            'answer = "…" with what a record must contain',
        )
        return check
    if text != receive.replace("\\.", "."):
        subject.note("receive", f"an answer that contains {text!r} passes here; ldirectord wants just that")
    return check | {"answer": text}


def _text_of(perl: str) -> str | None:
    """Return the text that an expression on an address or a name stands for, or None if it is more than a text."""
    text = re.sub(r"^(?:\^|\\A)|(?:\$|\\z|\\Z)$", "", perl).replace("\\.", ".")
    return text if re.fullmatch(r"[\w.:-]+", text, re.ASCII) else None


def sip(subject: Subject) -> Check:
    """Return the check of a SIP server: OPTIONS is answered by 200."""
    user = subject.text("login") or (_SIP_USER if "service" in subject.virtual.settings else "")
    if not user:
        subject.note("login", "there is no login, so OPTIONS asks for the address `sip:`, as ldirectord does")
    lines = (
        f"OPTIONS sip:{user} SIP/2.0",
        "Via: SIP/2.0/UDP lvs-healthd;branch=z9hG4bKhjhs8ass877;rport",
        "Max-Forwards: 70",
        f"To: <sip:{user}>",
        f"From: <sip:{user}>;tag=1928301774",
        "Call-ID: lvs-healthd",
        "CSeq: 63104 OPTIONS",
        f"Contact: <sip:{user}>",
        "Accept: application/sdp",
        "Content-Length: 0",
        "",
        "",
    )
    kind = "udp" if subject.virtual.protocol == "udp" else "tcp"
    return {"type": kind, "name": "sip", "send": "\r\n".join(lines), "expect_regex": r"\ASIP/2\.0 200 OK"}


def simpletcp(subject: Subject) -> Check:
    """Return the check of simpletcp: a line of the answer to `request` matches `receive`."""
    request, receive = subject.request[1:], subject.receive
    is_udp = subject.virtual.protocol == "udp"
    if not receive and r"\n" in request:
        raise AskError(
            r"simpletcp without receive, and with \n in the request, looks for the two characters \n in the answer, so "
            'these servers never come up (Perl repeats its last match): write receive, or choose check = "tcp"'
        )
    if is_udp and not request:
        raise AskError("simpletcp over udp sends nothing without request, so these servers never come up: write it")
    check: Check = {"type": "udp" if is_udp else "tcp", "name": "simpletcp"}
    if request:
        check["send"] = request.replace(r"\n", "\n")
    if not receive:
        return check | {"expect_regex": "."}
    if request and not is_udp:
        subject.note(
            "request", "ldirectord ends its side of the connection after the request; this check leaves it open"
        )
    return check | (expectation(subject, "expect", by_line=True) or {"expect_regex": "."})
