"""The floor of a mass removal: sends prepared netlink messages in batches and counts the acknowledgements."""

import socket
import time
from collections.abc import Sequence

from bench.netlink import Conversation
from bench.outcome import MeasurementError
from lvs_healthd.ipvs.records import Operation


def write_s(connection: socket.socket, operations: Sequence[Operation]) -> float:
    """Make writes over a connected socket, and return how long they took without their encoding, seconds.

    Raises `MeasurementError` when a write fails.
    """
    conversation = Conversation(connection)
    conversation.open()
    batches = conversation.encoded(operations)
    began = time.monotonic()
    codes = [code for batch in batches for code in conversation.write(batch)]
    took = time.monotonic() - began
    if any(codes):
        raise MeasurementError(f"{sum(map(bool, codes))} of {len(codes)} writes failed")
    return took
