"""Measures how long the daemon's netlink client alone takes for many writes."""

import asyncio
import time
from collections.abc import Sequence

from bench.outcome import MeasurementError
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.ipvs.records import Operation


def apply_s(operations: Sequence[Operation]) -> float:
    """Make writes, and return how long they took including their encoding, seconds.

    Raises `MeasurementError` when a write fails.
    """
    return asyncio.run(_apply_s(operations))


async def _apply_s(operations: Sequence[Operation]) -> float:
    client = IpvsClient()
    try:
        await client.open()
        began = time.monotonic()
        results = await client.apply(operations)
        took = time.monotonic() - began
    finally:
        client.close()
    failed = [result for result in results if not result.ok]
    if failed:
        raise MeasurementError(f"{len(failed)} of {len(results)} writes failed, first: {failed[0]}")
    return took
