"""Looks up the hosts of hooks, so that nothing hangs that looks them up again."""

import socket

from lvs_healthd.hooks.facts import NotToldError
from lvs_healthd.runtime.resolver import LoneResolver


async def found(resolver: LoneResolver, host: str) -> None:
    """Make sure that a host can be found, so that nothing hangs that looks it up. Raises `NotToldError`."""
    try:
        await resolver.resolve(host, family=socket.AF_UNSPEC)
    except OSError as error:
        raise NotToldError(f"cannot find {host}: {error.strerror or error}", may_work_later=True) from error
