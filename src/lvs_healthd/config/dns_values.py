"""Parsers for the values of dns checks (RFC 1035, RFC 6895).

dnspython is imported only when a configuration has a dns check, because it takes 15 ms and 2.5 MB.
"""

from lvs_healthd.config.errors import expected
from lvs_healthd.config.shapes import shaped
from lvs_healthd.config.values import string

_LARGEST_CODE = 15
"""The largest answer code that fits into the header of a message. Larger ones need EDNS, which a check does not use."""
_NO_QUESTIONS = ("NONE", "OPT", "TKEY", "TSIG", "IXFR", "AXFR", "MAILA", "MAILB")
"""Types that are no question about records, or whose answer may be a whole zone."""


@shaped("a domain name", type="string", minLength=1)
def name(value: object) -> str:
    """Parse the name to ask for. A dot at its end makes no difference, because every name is taken as complete."""
    from dns.exception import DNSException  # noqa: PLC0415  # see the module's text
    from dns.name import from_text  # noqa: PLC0415

    text = string(value)
    try:
        if text:
            from_text(text).to_wire()
            return text
    except (DNSException, UnicodeError):
        pass
    raise expected('a domain name such as "example.org", or "." for the root', value)


@shaped("a type of record such as A, AAAA, SOA, NS or TXT", type="string", minLength=1)
def record_type(value: object) -> str:
    """Parse the type of a record, such as A, AAAA, SOA or TYPE65280."""
    from dns.rdatatype import UnknownRdatatype, from_text, to_text  # noqa: PLC0415  # see the module's text

    text = string(value)
    try:
        found: str = to_text(from_text(text))
    except (UnknownRdatatype, ValueError):
        found = ""
    if not found or found in _NO_QUESTIONS:
        raise expected("a type of record that can be asked for, such as A, AAAA, SOA, NS or TXT", value)
    return found


@shaped("an answer code such as NOERROR or NXDOMAIN", type="string", minLength=1)
def answer_code(value: object) -> str:
    """Parse an answer code, such as NOERROR or NXDOMAIN."""
    from dns.rcode import UnknownRcode, from_text, to_text  # noqa: PLC0415  # see the module's text

    text = string(value)
    try:
        number = from_text(text)
    except (UnknownRcode, ValueError):
        number = None
    if number is None or number > _LARGEST_CODE:
        raise expected("an answer code such as NOERROR or NXDOMAIN", value)
    found: str = to_text(number)
    return found
