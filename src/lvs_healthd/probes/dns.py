"""dns checks: one query, and an answer with the right code and records (RFC 1035). Sans-I/O.

Every probe has an identifier of its own. An answer with another one, or to another question, is no answer: over UDP the
probe waits on. keepalived looks at the answer code only, and takes an answer without any records.
"""

import functools
import random
import struct
from collections.abc import Callable
from typing import NamedTuple

from lvs_healthd.config.check_model import Carrier, DnsCheck
from lvs_healthd.probes.exchange import MOST_DATAGRAMS, Exchange, Farewell, Step, what_happened
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, up

_HEADER = struct.Struct("!6H")
_LENGTH = struct.Struct("!H")
_ANSWERS = 0x8000
_AUTHORITATIVE = 0x0400
_TRUNCATED = 0x0200
_CODE = 0x000F
_MOST_BYTES = 4096
"""The longest answer that is read, bytes. One with as many records as fit takes 7 ms to read. Healthy servers answer
the questions of a check in some hundred bytes."""
_SHOWN = 3
"""How many records are shown when none is the expected one."""
_SHOWN_LENGTH = 60
"""How many characters are shown of each."""


def dns_exchanges(check: DnsCheck) -> Callable[[], Exchange]:
    """Return a factory that begins a conversation for each probe of this check."""
    question = _question(check)
    begin = _OverDatagram if check.over is Carrier.UDP else _OverStream
    return lambda: begin(question)


class _Question(NamedTuple):
    """What a check asks, and how it judges the answer."""

    check: DnsCheck
    query: bytes
    """The message without its identifier."""
    asked: bytes
    """The part of the message that the answer repeats, in lower case."""


def _question(check: DnsCheck) -> _Question:
    import dns.flags  # noqa: PLC0415  # imported only where it is configured: 15 ms and 2.5 MB
    import dns.message  # noqa: PLC0415

    message = dns.message.make_query(
        check.query, check.query_type, use_edns=False, flags=dns.flags.RD if check.recursion else 0
    )
    wire = message.to_wire()
    return _Question(check, wire[2:], wire[_HEADER.size :].lower())


class _OverDatagram:
    """A query in a datagram. Others than the answer may come first, such as a late answer to an earlier probe."""

    __slots__ = ("_identifier", "_left", "_question")

    def __init__(self, question: _Question) -> None:
        self._question = question
        self._identifier = random.getrandbits(16)  # tells answers apart; nobody is kept out by it
        self._left = MOST_DATAGRAMS

    def connected(self) -> Step:
        return _LENGTH.pack(self._identifier) + self._question.query

    def received(self, data: bytes) -> Step:
        found = _judged(self._question, self._identifier, data)
        self._left -= found is None
        return found if self._left else down(Reason.BAD_ANSWER, f"{MOST_DATAGRAMS} datagrams, and no answer among them")

    def closed(self) -> Outcome:
        """Never called: a peer cannot close a datagram socket, and an empty datagram arrives through `received`."""
        raise AssertionError("a UDP peer cannot close")

    def failed(self, outcome: Outcome) -> Outcome:
        return outcome

    def expired(self, timeout: str) -> Outcome:
        return down(Reason.TIMEOUT, f"no answer in {timeout}")

    def end(self) -> None:
        """Do nothing, because nothing refers back to this object."""


class _OverStream:
    """A query over a connection, where each message comes after its length."""

    __slots__ = ("_answer", "_identifier", "_left", "_question")

    def __init__(self, question: _Question) -> None:
        self._question = question
        self._identifier = random.getrandbits(16)  # tells answers apart; nobody is kept out by it
        self._answer = bytearray()
        self._left = MOST_DATAGRAMS

    def connected(self) -> Step:
        query = self._question.query
        return _LENGTH.pack(_LENGTH.size + len(query)) + _LENGTH.pack(self._identifier) + query

    def received(self, data: bytes) -> Step:
        self._answer += data
        while len(self._answer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._answer)
            if length > _MOST_BYTES:
                return down(Reason.TOO_LARGE, f"an answer of {length} bytes; at most {_MOST_BYTES} are read")
            end = _LENGTH.size + length
            if len(self._answer) < end:
                return None
            found = _judged(self._question, self._identifier, bytes(self._answer[_LENGTH.size : end]))
            if found is not None:
                return Farewell(b"", found, peer_may_close=False) if found.kind is OutcomeKind.UP else found
            del self._answer[:end]
            self._left -= 1
            if not self._left:
                return down(Reason.BAD_ANSWER, f"{MOST_DATAGRAMS} messages, and no answer among them")
        return None

    def closed(self) -> Outcome:
        how = "in the middle of the answer" if self._answer else "without an answer"
        return down(Reason.CLOSED_EARLY, f"connection closed {how}")

    def failed(self, outcome: Outcome) -> Outcome:
        if not self._answer or outcome.kind is OutcomeKind.UNSURE:
            return outcome
        return down(outcome.reason, f"{what_happened(outcome)} in the middle of the answer")

    def expired(self, timeout: str) -> Outcome:
        what = "answer incomplete after" if self._answer else "connected, but no answer in"
        return down(Reason.TIMEOUT, f"{what} {timeout}")

    def end(self) -> None:
        """Do nothing, because nothing refers back to this object."""


def _judged(question: _Question, identifier: int, wire: bytes) -> Outcome | None:
    """Return what an answer shows; None if it is no answer to this query."""
    check = question.check
    if len(wire) < _HEADER.size:
        return None
    found_identifier, flags, questions, *_ = _HEADER.unpack_from(wire)
    if found_identifier != identifier or not flags & _ANSWERS:
        return None
    repeated = wire[_HEADER.size : _HEADER.size + len(question.asked)].lower()
    if questions and repeated != question.asked:  # a server that cannot read the question may leave it out
        return None
    code = _code_name(flags & _CODE)
    if code not in check.rcode:
        return down(Reason.BAD_ANSWER, f"answer code {code}, expected {' or '.join(check.rcode)}")
    if check.authoritative and not flags & _AUTHORITATIVE:
        return down(Reason.BAD_ANSWER, "the answer is not authoritative: the server has not loaded this zone")
    if code != "NOERROR" or not (check.min_answers or check.answer):
        return _passed(code)
    return _with_records(check, wire, is_truncated=bool(flags & _TRUNCATED))


def _with_records(check: DnsCheck, wire: bytes, *, is_truncated: bool) -> Outcome:
    """Judge the records of an answer whose code is NOERROR."""
    if len(wire) > _MOST_BYTES:
        return down(Reason.TOO_LARGE, f"an answer of {len(wire)} bytes; at most {_MOST_BYTES} are read")
    try:
        records = _records(wire, check.query_type)
    except Exception as error:  # noqa: BLE001  # whatever the library makes of a stranger's bytes
        return down(Reason.PROTOCOL_ERROR, f"not a DNS message: {type(error).__name__}")
    shortened = '; it is truncated, so write over = "tcp"' if is_truncated else ""
    kind = check.query_type
    if len(records) < check.min_answers:
        some = f"{_counted(records, kind)}, expected {check.min_answers} or more," if records else f"no {kind} record"
        return down(Reason.BAD_ANSWER, f"{some} in the answer{shortened}")
    if check.answer and not any(check.answer in record for record in records):
        shown = ", ".join(record[:_SHOWN_LENGTH] for record in records[:_SHOWN]) + (", …" if records[_SHOWN:] else "")
        return down(Reason.BAD_ANSWER, f'no {kind} record with "{check.answer}", but {shown or "none"}{shortened}')
    return _passed(f"NOERROR, {_counted(records, kind)}")


def _counted(records: list[str], kind: str) -> str:
    return f"{len(records)} {kind} record{'' if len(records) == 1 else 's'}"


def _records(wire: bytes, wanted: str) -> list[str]:
    """Return the records of an answer that have the wanted type, as zone files write them."""
    import dns.message  # noqa: PLC0415  # imported only where it is configured
    import dns.rdatatype  # noqa: PLC0415

    message: dns.message.Message = dns.message.from_wire(wire, ignore_trailing=True, raise_on_truncation=False)
    any_kind = dns.rdatatype.from_text(wanted) == dns.rdatatype.ANY
    return [
        record.to_text()
        for found in message.answer
        if any_kind or dns.rdatatype.to_text(found.rdtype) == wanted
        for record in found
    ]


@functools.cache
def _code_name(code: int) -> str:
    import dns.rcode  # noqa: PLC0415  # imported only where it is configured

    name: str = dns.rcode.to_text(dns.rcode.Rcode.make(code))
    return name


@functools.lru_cache(maxsize=1024)
def _passed(detail: str) -> Outcome:
    """Return the same object for the same detail, so that thousands of servers share it."""
    return up(detail)
