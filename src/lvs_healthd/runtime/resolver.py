"""Looks up names of hosts for aiohttp, on a thread that never waits behind another one of the same user."""

import errno
import socket
from typing import Any

import aiohttp.abc

from lvs_healthd.runtime.threads import HungError, LoneCall


class LoneResolver(aiohttp.abc.AbstractResolver):
    """Asks the system's resolver. While a question hangs, no other is asked.

    timeout_s: how long an answer may take, seconds.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._call = LoneCall()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        """Return the addresses of a host. Raises `OSError`."""
        try:
            found: list[Any] = await self._call(
                socket.getaddrinfo,
                host,
                port,
                family,
                socket.SOCK_STREAM,
                timeout_s=self._timeout_s,
                what=f"looking up {host}",
            )
        except HungError:
            raise OSError(errno.ETIMEDOUT, f"no answer about {host} from the resolver") from None
        return [
            aiohttp.abc.ResolveResult(
                hostname=host, host=place[0], port=place[1], family=kind, proto=protocol, flags=socket.AI_NUMERICHOST
            )
            for kind, _, protocol, _, place in found
        ]

    async def close(self) -> None:
        """Do nothing, because there is nothing to close."""
