"""Has programs run by the process that runs those of checks, which gives them places of their own."""

import asyncio
import contextlib

import msgspec

from lvs_healthd.hooks.facts import NotToldError
from lvs_healthd.probes.programs import ENVIRONMENT
from lvs_healthd.programs.messages import (
    MOST_BYTES,
    Finished,
    GarbledMessageError,
    NotRun,
    Request,
    Started,
    answer,
    line,
)
from lvs_healthd.programs.running import KILL_AFTER_S
from lvs_healthd.runtime.printable import printable

_WAIT_S = 30.0
"""How long a program may wait for its turn, seconds. All others would have to hang for longer."""
_SPARE_S = 1.0
"""How much longer than a program may take to wait for the helper's answer, seconds."""
_SHOWN = 120
"""How many characters of a program's output are shown."""


class Call(msgspec.Struct, frozen=True):
    """A program to run."""

    argv: tuple[str, ...]
    variables: dict[str, str]
    """The environment, in addition to what every program gets."""
    told: str
    """What it reads from its standard input."""
    folders: tuple[str, ...] = ()
    """Variables for the folder in which programs may keep files."""


class Programs:
    """Runs the program of a hook.

    helper: the socket of the process that runs programs.
    timeout_s: how long a program may run, seconds.
    """

    def __init__(self, helper: str, timeout_s: float) -> None:
        self._helper = helper
        self._timeout_s = timeout_s

    async def send(self, payload: object) -> None:
        """Run a `Call` to its end. Raises `NotToldError` unless it ends with status 0."""
        if not isinstance(payload, Call):
            raise TypeError(payload)
        variables = ENVIRONMENT | payload.variables
        request = Request(payload.argv, variables, self._timeout_s, payload.folders, told=payload.told, is_hook=True)
        try:
            asked = line(request)
        except UnicodeEncodeError as error:  # a lone surrogate
            raise NotToldError("what there is to tell is no text", may_work_later=False) from error
        if len(asked) > MOST_BYTES:
            raise NotToldError(f"more than {MOST_BYTES} bytes to tell", may_work_later=False)
        try:
            async with asyncio.timeout(_WAIT_S + self._timeout_s + KILL_AFTER_S + _SPARE_S):
                ended = await self._ran(asked)
        except TimeoutError:
            raise NotToldError("the process that runs programs does not answer", may_work_later=True) from None
        except (OSError, ValueError) as error:
            why = f"the process that runs programs is not there: {self._helper}: {error}"
            raise NotToldError(why, may_work_later=True) from error
        said = printable(ended.output.strip().partition("\n")[0][:_SHOWN])
        said = f": {said}" if said else ""
        if ended.timed_out:
            raise NotToldError(f"{payload.argv[0]} took more than {self._timeout_s:g}s{said}", may_work_later=False)
        if ended.status:
            how = f"exit status {ended.status}" if ended.status > 0 else f"killed by signal {-ended.status}"
            raise NotToldError(f"{payload.argv[0]}: {how}{said}", may_work_later=False)

    async def close(self) -> None:
        """Do nothing, because there is nothing to close."""

    async def _ran(self, asked: bytes) -> Finished:
        reader, writer = await asyncio.open_unix_connection(self._helper, limit=MOST_BYTES)
        try:
            writer.write(asked)
            while data := await reader.readline():
                match answer(data):
                    case Started():
                        pass
                    case NotRun(why=why):
                        raise NotToldError(printable(why), may_work_later=False)
                    case Finished() as ended:
                        return ended
        except GarbledMessageError as error:
            raise NotToldError(f"the process that runs programs sent garbage: {error}", may_work_later=False) from error
        finally:
            writer.close()  # which ends the program, unless it has ended
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        raise NotToldError("the process that runs programs has ended", may_work_later=True)
