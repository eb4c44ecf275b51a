"""What directors tell each other of servers and services: how it is written, and how it is exchanged.

What another director says may be anything, so it is read with limits, and what is not right as a whole is not used.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from lvs_healthd.runtime.exceptions import PeerError
from lvs_healthd.runtime.printable import printable

LARGEST = 1024 * 1024
"""How large what a director says may be, bytes. etcd takes 1.5 MiB at once."""

MOST_DIRECTORS = 1000
"""How many other directors are listened to."""

LONGEST_NAME = 128
"""How long the name of a director may be, characters."""

FORMAT = 1


class Said(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a director says of one service. It is written as an array, because there may be thousands."""

    servers: int
    """A checksum (CRC-32) of the keys of its real servers, in their order. If it is another one here, nothing is known
    of servers that are not in `others`."""
    serves: bool | None
    """Whether clients are served there; None if that is not known."""
    others: dict[str, str] = {}
    """The servers that are not up: "down" or "unsure" by key."""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What a director says."""

    format: int = FORMAT
    run: str
    """Tells processes apart: two directors may have the same name by mistake."""
    sequence: int
    """How many times this process had said something before."""
    at: float
    """When it was said, Unix time there. For people only, as clocks differ."""
    services: dict[str, Said] = {}
    """By key, such as "192.0.2.100:80/tcp"."""


class WrongSayingError(PeerError):
    """Raised when what a director says cannot be understood."""


_decoder = msgspec.json.Decoder(Published)


def written(published: Published) -> bytes:
    """Write what a director says."""
    return msgspec.json.encode(published)


def read(content: bytes) -> Published:
    """Read what a director says. Raises `WrongSayingError`."""
    if len(content) > LARGEST:
        raise WrongSayingError(f"more than {LARGEST} bytes")
    try:
        found = _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WrongSayingError(printable(str(error))[:200]) from None
    if found.format != FORMAT:
        raise WrongSayingError(f"its format is {found.format}, and this version knows {FORMAT}")
    return found


class Heard(NamedTuple):
    """What another director says, and how old that is."""

    content: bytes
    age_s: float


class Exchange(Protocol):
    """Tells other directors something, and hears what they say."""

    def publish(self, content: bytes) -> None:
        """Say this from now on, in place of what was said before. It is told soon, and again after every failure."""

    def peers(self) -> Mapping[str, Heard]:
        """Return what each other director says, by name."""

    @property
    def error(self) -> str:
        """Why nothing can be said or heard; "" if all is well."""

    async def run(self) -> None:
        """Exchange until cancelled."""

    async def withdraw(self) -> None:
        """Say nothing any more, because this director ends. Raises `PeerError`."""


class Board:
    """What all directors of one process say, for tests.

    clock: monotonic time, seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.said: dict[str, tuple[bytes, float]] = {}
        """What each says, and when it said so, seconds."""


class InMemory:
    """An exchange by a board.

    name: the director's own name.
    """

    def __init__(self, board: Board, name: str) -> None:
        self._board = board
        self._name = name

    error = ""

    def publish(self, content: bytes) -> None:
        """Say this from now on."""
        self._board.said[self._name] = content, self._board.clock()

    def peers(self) -> Mapping[str, Heard]:
        """Return what the others say."""
        now = self._board.clock()
        return {
            name: Heard(content, now - at) for name, (content, at) in self._board.said.items() if name != self._name
        }

    async def run(self) -> None:
        """Do nothing: what is said is heard."""

    async def withdraw(self) -> None:
        """Say nothing any more."""
        self._board.said.pop(self._name, None)
