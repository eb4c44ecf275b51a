"""What a file of ldirectord says, as the program understands it."""

import msgspec

from lvs_healthd.importers.account import Place
from lvs_healthd.ipvs.words import AF_INET6

FORWARDS = {"gate": "dr", "masq": "nat", "ipip": "tun"}
"""The forwarding methods of ldirectord, and ours."""


class Setting(msgspec.Struct, frozen=True):
    """A line `key = value`."""

    key: str
    value: str
    """What the program takes of the line. Of a number it takes the first digits."""
    place: Place

    @property
    def number(self) -> int:
        """The value of a setting that is a number."""
        return int(self.value)


Settings = dict[str, Setting]
"""The settings of a virtual, or of the top of a file: of each key the last one."""


class Fallback(msgspec.Struct, frozen=True):
    """A line `fallback`."""

    place: Place
    address: str
    """Without brackets."""
    port: int | None
    """None stands for the virtual's port."""
    forward: str
    """`gate`, `masq` or `ipip`."""


class Real(msgspec.Struct, frozen=True):
    """One real server. A line with a range stands for several."""

    place: Place
    address: str
    """Without brackets."""
    port: int
    """0 if the line has none."""
    forward: str
    """`gate`, `masq` or `ipip`."""
    weight: int = 1
    request: str | None = None
    """The line's own request, which begins with a slash."""
    receive: str | None = None
    lower: int = 0
    upper: int = 0
    """Thresholds of connections; 0 for none."""


class Virtual(msgspec.Struct):
    """A block `virtual` or `virtual6`."""

    place: Place
    family: int
    """AF_INET or AF_INET6."""
    mark: int | None
    """The firewall mark, or None if it has an address."""
    address: str = ""
    """Without brackets; "" for a mark."""
    port: int = 0
    """0 for a mark."""
    protocol: str = "tcp"
    """`tcp`, `udp`, or `fwm` for a mark."""
    service: str = "none"
    """The protocol of its negotiate checks."""
    settings: Settings = msgspec.field(default_factory=dict)
    reals: list[Real] = msgspec.field(default_factory=list)
    fallback: Fallback | None = None

    def text(self, key: str, default: str = "") -> str:
        """Return the value of a key of the block, or a default."""
        setting = self.settings.get(key)
        return default if setting is None else setting.value

    def used_port(self, forward: str, port: int) -> int:
        """Return the port that packets to a server have, or 0 if they keep the one they came with.

        Only masq can map a port; behind a mark, only without persistence (ip_vs_core.c, `ip_vs_schedule`).

        forward: the server's forwarding method.
        port: its port in the file, 0 for none.
        """
        if self.mark is not None:
            return port if forward == "masq" and "persistent" not in self.settings else 0
        return (port or self.port) if forward == "masq" and self.port else self.port

    @property
    def is_v6(self) -> bool:
        """Whether its addresses are IPv6."""
        return self.family == AF_INET6

    @property
    def identity(self) -> str:
        """What the program tells services apart by (`get_virtual_id_str`)."""
        if self.mark is not None:
            return f"fwm{'6' if self.is_v6 else ''}:{self.mark}"
        return f"{self.protocol}:{bracketed(self.address)}:{self.port}"


class File(msgspec.Struct):
    """A whole file."""

    settings: Settings
    virtuals: list[Virtual]
    fallbacks: dict[int, Fallback]
    """The global ones, by address family."""


def bracketed(address: str) -> str:
    """Return an address as ldirectord writes it: an IPv6 address in brackets."""
    return f"[{address}]" if ":" in address else address
