"""ping checks: an ICMP echo request and its reply (RFC 792, RFC 4443). Sans-I/O.

A raw socket receives all ICMP messages of its peer. Each request carries random bytes, so that only its own reply
passes.
"""

import random
import struct
from collections.abc import Callable

from lvs_healthd.config.check_model import PingCheck
from lvs_healthd.probes.exchange import MOST_DATAGRAMS, Exchange, Step
from lvs_healthd.probes.outcome import Outcome, Reason, down, up

_REPLIED = up("echo reply")
_REQUEST = (8, 128)
_REPLY = (0, 129)
"""The types of the two messages in IPv4 and IPv6."""
_RANDOM_BITS = 128
_IHL_UNIT = 4
"""The length of an IPv4 header is given in words of so many bytes."""


def ping_exchanges(check: PingCheck) -> Callable[[], Exchange]:
    """Return a factory that begins a conversation for each probe of this check."""
    is_ipv6 = ":" in check.address
    return lambda: _Ping(is_ipv6=is_ipv6)


class _Ping:
    __slots__ = ("_is_ipv6", "_left", "_sent")

    def __init__(self, *, is_ipv6: bool) -> None:
        self._is_ipv6 = is_ipv6
        self._sent = random.getrandbits(_RANDOM_BITS).to_bytes(_RANDOM_BITS // 8)
        """The random bytes of this request: identifier, sequence number and data."""

        self._left = MOST_DATAGRAMS

    def connected(self) -> Step:
        kind = _REQUEST[self._is_ipv6]
        # The kernel fills in the checksum of ICMPv6, which covers the addresses.
        checksum = 0 if self._is_ipv6 else _checksum(bytes((kind, 0, 0, 0)) + self._sent)
        return struct.pack("!BBH", kind, 0, checksum) + self._sent

    def received(self, data: bytes) -> Step:
        if not self._is_ipv6 and data:  # the kernel hands out the IPv4 header too
            data = data[(data[0] & 0x0F) * _IHL_UNIT :]
        is_ours = data[:2] == bytes((_REPLY[self._is_ipv6], 0)) and data[4:] == self._sent
        if is_ours:
            return _REPLIED
        self._left -= 1
        return None if self._left else down(Reason.BAD_ANSWER, f"{MOST_DATAGRAMS} messages, and no reply among them")

    def closed(self) -> Outcome:
        """Never called: a peer cannot close a raw socket."""
        raise AssertionError("a peer of ICMP cannot close")

    def failed(self, outcome: Outcome) -> Outcome:
        return outcome

    def expired(self, timeout: str) -> Outcome:
        return down(Reason.TIMEOUT, f"no echo reply in {timeout}")

    def end(self) -> None:
        """Do nothing, because nothing refers back to this object."""


def _checksum(message: bytes) -> int:
    """Return the Internet checksum of a message of even length (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
