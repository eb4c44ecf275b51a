"""Sends requests to the kernel's IPVS netlink family and collects the answers. Each request has a deadline."""

import asyncio
import contextlib
import errno
import itertools
from collections.abc import Callable
from typing import TypeVar

from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel import codec, genetlink
from lvs_healthd.ipvs.kernel.channel import Channel, LostError
from lvs_healthd.ipvs.kernel.genetlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLMSG_ERROR,
    Answer,
    GarbledMessageError,
)
from lvs_healthd.ipvs.refusals import NO_MODULE, NO_PERMISSION
from lvs_healthd.runtime.pace import Pace

_DUMP_TRIES = 5

_T = TypeVar("_T")


class KernelError(TableUnavailableError):
    """The kernel answered a request with an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(_words(answer))
        self.answer = answer


class Requests:
    """Requests to the netlink family IPVS, whose number the kernel assigns. Callers hold `lock` during a request."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.lock = asyncio.Lock()
        self.family = 0
        """The family's number; 0 before it is known."""
        self._sequences = itertools.count(1)
        self._pace = Pace()

    async def find_family(self) -> bool:
        """Ask for the family's number, and return whether the family exists.

        The kernel tries to load the module for this request. Raises `TableUnavailableError`.
        """
        name = genetlink.family_name(codec.FAMILY_NAME)
        try:
            reply = await self.ask(genetlink.CTRL_CMD_GETFAMILY, name, family=genetlink.GENL_ID_CTRL)
            self.family = genetlink.family_id(reply)
        except KernelError as error:
            if error.answer.errno == errno.ENOENT:
                return False
            raise
        except GarbledMessageError as error:
            raise TableUnavailableError(f"the kernel's answer cannot be read: {error}") from error
        return True

    async def ask(self, command: int, attributes: bytes, *, family: int = 0) -> bytes:
        """Make one request, and return the payload of its answer; empty when there is only an acknowledgement.

        family: number of the netlink family to ask; 0 means IPVS.

        Raises `TableUnavailableError`, and its subclass `KernelError` when the kernel refuses.
        """
        sequence = self.next_sequence()
        reply = b""
        end: Answer | None = None
        async with self.channel.exchange():
            request = self.request(command, attributes, NLM_F_ACK, sequence, family=family)
            await self.channel.send(request)
            while end is None:
                for message in await self.channel.receive():
                    if message.sequence != sequence:
                        continue
                    if message.type == NLMSG_ERROR:
                        end = genetlink.answer(message)
                    else:
                        reply = message.payload
        if end.errno:
            raise KernelError(end)
        await self._pause()
        return reply

    async def dump(self, command: int, attributes: bytes, decode: Callable[[bytes], _T]) -> list[_T]:
        """Ask for a list, and decode each of its messages with `decode`.

        Raises `TableUnavailableError`, and its subclass `KernelError` when the kernel refuses.
        """
        for _ in range(_DUMP_TRIES):
            with contextlib.suppress(LostError):
                return await self._dump_once(command, attributes, decode)
        raise TableUnavailableError(f"the table could not be read whole in {_DUMP_TRIES} tries")

    def request(self, command: int, attributes: bytes, flags: int, sequence: int, *, family: int = 0) -> bytes:
        """Encode a request to the netlink family with number `family`; 0 means IPVS."""
        version = genetlink.CTRL_VERSION if family == genetlink.GENL_ID_CTRL else codec.VERSION
        return genetlink.request(
            family or self.family, command, attributes, flags=flags, sequence=sequence, version=version
        )

    def next_sequence(self) -> int:
        """Return a sequence number, by which the answer to a request is recognised."""
        return next(self._sequences) & 0xFFFFFFFF

    def check_open(self) -> None:
        """Raise `TableUnavailableError` when the family's number is not known yet.

        The kernel would acknowledge a request to family 0, and ignore it.
        """
        if not self.family:
            raise TableUnavailableError(NO_MODULE)

    async def _dump_once(self, command: int, attributes: bytes, decode: Callable[[bytes], _T]) -> list[_T]:
        sequence = self.next_sequence()
        async with self.channel.exchange():
            answer = await self.channel.dump(self.request(command, attributes, NLM_F_DUMP, sequence), sequence)
        records: list[_T] = []
        try:
            for message in answer[:-1]:
                records.append(decode(message.payload))
                await self._pause()
            end = genetlink.answer(answer[-1])
        except GarbledMessageError as error:
            raise TableUnavailableError(f"the kernel's answer cannot be read: {error}") from error
        if end.errno:
            raise KernelError(end)
        if any(message.flags & NLM_F_DUMP_INTR for message in answer):
            raise LostError("the table changed while it was read")
        return records

    async def _pause(self) -> None:
        """Yield to the event loop when decoding has taken long enough.

        Reading answers that have already arrived never yields by itself.
        """
        if self._pace.is_over():
            await self._pace.rest()


def _words(answer: Answer) -> str:
    """Explain the error with which the kernel answered."""
    if answer.errno in (errno.EPERM, errno.EACCES):
        return NO_PERMISSION
    if answer.errno == errno.ENOENT:
        return NO_MODULE
    words = errno.errorcode.get(answer.errno, str(answer.errno))
    return f"the kernel refused: {words}" + (f" ({answer.text})" if answer.text else "")
