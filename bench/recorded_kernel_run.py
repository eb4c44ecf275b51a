"""Runs `recorded_kernel.py`, fills its table, and runs the daemon or a bare writer over it."""

import contextlib
import json
import mmap
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.healthd import Load
from bench.netlink import Conversation
from bench.outcome import MeasurementError
from bench.processes import PEER_CPU, PYTHON, Program, running, wait_until
from bench.real_servers import PORTS
from bench.recorded_kernel import TALLY
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, Operation, ServiceKey, ServiceRecord, Verb
from lvs_healthd.ipvs.words import AF_INET, IPPROTO_TCP, ForwardingMethod

DAEMON = (PYTHON, "-m", "bench.daemon_on_recorded_kernel")
"""The command that runs lvs-healthd over a recorded kernel. The socket and the configuration file follow."""

DELETE_SERVER = 7
"""IPVS_CMD_DEL_DEST."""


class KernelProcess:
    """A running recorded kernel. Build one with `running_kernel`."""

    def __init__(self, program: Program, path: Path, tally: mmap.mmap) -> None:
        self.path = path
        self.writes: list[tuple[float, int, int]] = []
        """All writes (moment, command, errno), after the block."""
        self._program = program
        self._tally = tally

    @contextlib.contextmanager
    def conversation(self) -> Iterator[Conversation]:
        """Talk to it the way another program would, such as ipvsadm."""
        with self.connected() as connection:
            conversation = Conversation(connection)
            conversation.open()
            yield conversation

    def apply(self, operations: Sequence[Operation]) -> None:
        """Write to its table. Raises `MeasurementError` when a write fails."""
        with self.conversation() as conversation:
            for batch in conversation.encoded(operations):
                if any(conversation.write(batch)):
                    raise MeasurementError("the recorded kernel refused a write")

    def connected(self) -> socket.socket:
        """Return a socket that is connected to it, as a netlink socket is to the kernel."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(str(self.path))
        return connection

    def tally(self) -> tuple[int, float]:
        """Return the number of writes, and when the last one was acknowledged (CLOCK_MONOTONIC)."""
        count, moment = TALLY.unpack_from(self._tally)
        return count, moment

    def end(self) -> None:
        """Stop it, and read the list of its writes."""
        self._program.stop()
        try:
            self.writes = [(moment, command, code) for moment, command, code in json.loads(self._program.output())]
        except ValueError as error:
            raise MeasurementError(f"the recorded kernel failed:\n{self._program.last_words()}") from error


@contextlib.contextmanager
def running_kernel(folder: Path) -> Iterator[KernelProcess]:
    """Run a recorded kernel on the real servers' processor for the length of the block."""
    path, tally_file = folder / "kernel.sock", folder / "tally"
    tally_file.write_bytes(bytes(TALLY.size))
    with (
        tally_file.open("rb") as file,
        mmap.mmap(file.fileno(), TALLY.size, access=mmap.ACCESS_READ) as tally,
        running([PYTHON, "-m", "bench.recorded_kernel", path, tally_file], cpu=PEER_CPU) as program,
    ):
        wait_until(lambda: path.exists() or not program.alive(), timeout_s=30, what="the recorded kernel")
        kernel = KernelProcess(program, path, tally)
        yield kernel
        kernel.end()


def services(load: Load, *, per_service: int) -> list[Operation]:
    """Return the writes that make the wanted table of a load's configuration."""
    operations = []
    for start in range(0, load.count, per_service):
        host, _, port = load.vip(start // per_service).partition(":")
        service = ServiceRecord(ServiceKey(AF_INET, IPPROTO_TCP, host, int(port)), "rr")
        operations.append(Operation(Verb.ADD_SERVICE, service))
        operations += [
            Operation(Verb.ADD_SERVER, service, destination(load, index))
            for index in range(start, min(start + per_service, load.count))
        ]
    return operations


def destination(load: Load, index: int, *, weight: int = 1) -> DestinationRecord:
    """Return a real server's record in the table."""
    key = DestinationKey(AF_INET, load.address(index), PORTS[load.kind])
    return DestinationRecord(key, ForwardingMethod.MASQ, weight)
