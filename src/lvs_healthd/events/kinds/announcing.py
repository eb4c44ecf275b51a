"""The virtual addresses that BGP announces from this director."""

from lvs_healthd.events.kinds.event import Event


class AnnounceOn(Event, frozen=True, kw_only=True):
    """A virtual address is on its interface, so that it is announced. In shadow mode, it would be."""

    name = "announce.on"
    vip: str
    interface: str
    services: tuple[str, ...]
    """The names of the services that decide about it, at most twenty."""
    count: int
    """How many there are."""
    reason: str
    after_s: float | None = None
    """How long it had been withdrawn, seconds; None at a start, and after a move to another interface."""
    took_s: float = 0.0
    """How long it took from the decision until the kernel had done it, seconds."""
    shadow: bool = False


class AnnounceOff(Event, frozen=True, kw_only=True):
    """A virtual address is not on its interface, so that it is withdrawn. In shadow mode, it would not be."""

    name = "announce.off"
    level = "warning"
    vip: str
    interface: str
    services: tuple[str, ...]
    """The names of the services that decide about it, at most twenty."""
    count: int
    """How many there are."""
    reason: str
    after_s: float | None = None
    """How long it had been announced, seconds; None at a start, and after a move to another interface."""
    took_s: float = 0.0
    """How long it took from the decision until the kernel had done it, seconds."""
    shadow: bool = False


class AnnounceDrift(Event, frozen=True, kw_only=True):
    """Somebody else had put a virtual address on its interface or taken it off. That was made right."""

    name = "announce.drift"
    level = "warning"
    vip: str
    interface: str
    found: str
    """"missing" or "present"."""


class AnnounceForeign(Event, frozen=True, kw_only=True):
    """An interface has an address that is none of ours, so BGP may announce it. It is left alone."""

    name = "announce.foreign"
    level = "warning"
    interface: str
    address: str
    """With the length of its prefix: "192.0.2.7/32"."""


class AnnounceError(Event, frozen=True, kw_only=True):
    """Addresses are not on an interface as wanted, or are there and not announced. It is tried again and again."""

    name = "announce.error"
    level = "error"
    interface: str
    error: str
    retry_s: float


class AnnounceRecovered(Event, frozen=True, kw_only=True):
    """The addresses of an interface are as wanted again after an error."""

    name = "announce.recovered"
    interface: str
