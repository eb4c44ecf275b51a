"""Sends requests to the kernel's IPVS netlink family and collects the answers. Each request has a deadline."""

import asyncio
import contextlib
import errno
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TypeVar

from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel import codec, genetlink
from lvs_healthd.ipvs.kernel.channel import Channel, LostError
from lvs_healthd.ipvs.kernel.genetlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLMSG_ERROR,
    Answer,
    GarbledMessageError,
    Listed,
)
from lvs_healthd.ipvs.refusals import NO_MODULE, NO_PERMISSION
from lvs_healthd.runtime.pace import Pace

_DUMP_TRIES = 5
_MOST_DUMPS = 64
"""The maximum number of lists to ask for in one exchange."""

_T = TypeVar("_T")

_MOST_DECODED = 64
"""The maximum number of messages of a list that are decoded at once, which takes up to a millisecond."""

ListRequest = tuple[bytes, Callable[[Sequence[bytes]], _T]]
"""The encoded attributes of a request for a list, and what decodes some messages of the answer."""


class KernelError(TableUnavailableError):
    """Raised when the kernel answers a request with an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(_words(answer))
        self.answer = answer


class Requests:
    """Makes requests to the netlink family IPVS, whose number the kernel assigns.

    The caller must hold `lock` during a request.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.lock = asyncio.Lock()
        self.family = 0
        """The number of the IPVS netlink family; 0 before it is known."""
        self._sequences = itertools.count(1)
        self._pace = Pace()

    async def find_family(self) -> bool:
        """Ask for the number of the IPVS netlink family, and return whether the family exists.

        This request makes the kernel try to load the module. Raises `TableUnavailableError`.
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
        """Make one request, and return the payload of the answer. Empty when there is only an acknowledgement.

        command: number of the command.
        attributes: the encoded attributes of the request.
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
        """Ask for a list, and decode each message of the answer with `decode`.

        Raises `TableUnavailableError`, and its subclass `KernelError` when the kernel refuses.
        """
        found = await self._dump(command, attributes, lambda payloads: [decode(payload) for payload in payloads])
        return list(itertools.chain.from_iterable(found))

    async def dumps(self, command: int, lists: Iterable[ListRequest[_T]]) -> AsyncIterator[list[_T]]:
        """Ask for several lists, and yield each of them, in their order. This is faster than `dump` for each.

        lists: for each list the encoded attributes of the request, and what decodes some messages of the answer.

        A list is yielded as what its parts were decoded to. Raises the same as `dump`.
        """
        left = [(self._dump_request(command, attributes), attributes, decode) for attributes, decode in lists]
        while left:
            answers = await self._answers([request for request, *_ in left[:_MOST_DUMPS]])
            for (_, attributes, decode), answer in zip(left, answers, strict=False):
                try:
                    found = await self._decoded(answer, decode)
                except LostError:
                    found = await self._dump(command, attributes, decode)
                yield found
            del left[: len(answers)]

    def request(self, command: int, attributes: bytes, flags: int, sequence: int, *, family: int = 0) -> bytes:
        """Encode a request to the netlink family with number `family`; 0 means IPVS."""
        version = genetlink.CTRL_VERSION if family == genetlink.GENL_ID_CTRL else codec.VERSION
        return genetlink.request(
            family or self.family, command, attributes, flags=flags, sequence=sequence, version=version
        )

    def next_sequence(self) -> int:
        """Return the sequence number for a request, by which the answer will be recognised."""
        return next(self._sequences) & 0xFFFFFFFF

    def check_open(self) -> None:
        """Raise `TableUnavailableError` when the family's number is not known yet.

        Without this check, a request would go to family 0, which the kernel acknowledges and ignores.
        """
        if not self.family:
            raise TableUnavailableError(NO_MODULE)

    def _dump_request(self, command: int, attributes: bytes) -> tuple[bytes, int]:
        """Encode a request for a list. Return it with its sequence number."""
        sequence = self.next_sequence()
        return self.request(command, attributes, NLM_F_DUMP, sequence), sequence

    async def _dump(self, command: int, attributes: bytes, decode: Callable[[Sequence[bytes]], _T]) -> list[_T]:
        for _ in range(_DUMP_TRIES):
            (answer,) = await self._answers([self._dump_request(command, attributes)])
            with contextlib.suppress(LostError):
                return await self._decoded(answer, decode)
        raise TableUnavailableError(f"the table could not be read whole in {_DUMP_TRIES} tries")

    async def _answers(self, requests: Sequence[tuple[bytes, int]]) -> list[Listed]:
        async with self.channel.exchange():
            return await self.channel.dumps(requests)

    async def _decoded(self, answer: Listed, decode: Callable[[Sequence[bytes]], _T]) -> list[_T]:
        """Decode an answer part by part. Raises `LostError` when the list is not whole."""
        found: list[_T] = []
        try:
            for start in range(0, len(answer.payloads), _MOST_DECODED):
                found.append(decode(answer.payloads[start : start + _MOST_DECODED]))
                await self._pause()
            end = genetlink.answer(answer.end)
        except GarbledMessageError as error:
            raise TableUnavailableError(f"the kernel's answer cannot be read: {error}") from error
        if end.errno:
            raise KernelError(end)
        if answer.is_interrupted:
            raise LostError("the table changed while it was read")
        return found

    async def _pause(self) -> None:
        """Yield to the event loop when the time for one turn is used up.

        This is necessary because reading and decoding answers that have already arrived never yields by itself.
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
