"""One finding: what was seen, why it matters here, what to type, and how sure that is."""

import enum

import msgspec


class Sureness(enum.StrEnum):
    """How sure a finding is."""

    CERTAIN = "certain"
    """It cannot be otherwise with what was seen."""
    LIKELY = "likely"
    """It explains what was seen, and little else does."""
    POSSIBLE = "possible"
    """It explains what was seen, as others do."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong."""

    name: str
    """What kind of finding it is: a section of docs/doctor.md."""
    sureness: Sureness
    seen: str
    """What was seen, with figures."""
    why: str
    """Why it matters here."""
    command: str
    """What to type."""
    on: str = ""
    """The machine on which to type it: a server's address; "" for the director."""
    service: str = ""
    server: str = ""
    """The service and server that suffer; "" if all do."""
    others: int = 0
    """How many more services or servers suffer in the same way."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something that looks odd and is well, or that could not be looked at. It does not count as trouble."""

    text: str
    service: str = ""
