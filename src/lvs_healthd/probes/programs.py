"""exec checks: any program as a check. Sans-I/O: the conversation is with the process that runs the programs.

A program that was killed by a signal has failed. mon takes such a program for success.
"""

import functools
from collections.abc import Callable

import msgspec

from lvs_healthd.config.check_model import Convention, ExecCheck
from lvs_healthd.probes.exchange import Exchange, Step
from lvs_healthd.probes.outcome import Outcome, Reason, down, unsure, up
from lvs_healthd.programs.messages import MOST_BYTES, Finished, NotRun, Request, Started, answer, line
from lvs_healthd.runtime.printable import printable

KEPT_S = 1.0
"""How much longer a program may run than the check's timeout, seconds, in case that nobody ends it before."""

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/"}
"""The environment of every program. The daemon's own is not passed on."""

NO_HOST = ";;"
"""As the last word of a command for mon: the server's address is not appended."""

_SHOWN = 120
"""How many characters of a program's output are shown."""
_OK, _WARNING, _UNKNOWN = 0, 1, 3
"""The exit statuses of Nagios plugins. Every other one is CRITICAL."""


def program_runs(check: ExecCheck) -> Callable[[], Exchange]:
    """Return a factory that begins a conversation for each probe of this check."""
    port = str(check.port or "")
    words = [word.replace("{address}", check.address).replace("{port}", port) for word in check.command]
    if check.convention is Convention.MON:
        words = words[:-1] if words[-1] == NO_HOST else [*words, check.address]
    variables = {"LVS_ADDRESS": check.address, "LVS_PORT": port}
    asked = line(Request(tuple(words), ENVIRONMENT | variables, check.timeout + KEPT_S))
    return lambda: _Run(asked, check.convention)


class _Run:
    __slots__ = ("_answers", "_asked", "_convention", "_started")

    def __init__(self, asked: bytes, convention: Convention) -> None:
        self._asked = asked
        self._convention = convention
        self._answers = bytearray()
        self._started = False

    def connected(self) -> Step:
        return self._asked

    def received(self, data: bytes) -> Step:
        self._answers += data
        while b"\n" in self._answers:
            first, _, rest = self._answers.partition(b"\n")
            self._answers = rest
            try:
                said = answer(bytes(first))
            except msgspec.DecodeError:
                return _ours("the process that runs programs sent garbage")
            match said:
                case Started():
                    self._started = True
                case NotRun(why=why):
                    return _ours(why)
                case Finished():
                    return _judged(said, self._convention)
        return None if len(self._answers) < MOST_BYTES else _ours("the process that runs programs sent garbage")

    def closed(self) -> Outcome:
        return _ours("the process that runs programs has ended")

    def failed(self, outcome: Outcome) -> Outcome:
        return _ours(f"the process that runs programs has gone: {outcome.detail}")

    def expired(self, timeout: str) -> Outcome:
        if self._started:
            return down(Reason.TIMEOUT, f"the program has not ended in {timeout}")
        return _ours(f"the program could not be started in {timeout}, because as many as allowed are running: max_exec")

    def end(self) -> None:
        """Do nothing, because nothing refers back to this object."""


@functools.lru_cache(maxsize=64)
def _ours(what: str) -> Outcome:
    return unsure(Reason.LOCAL_LIMIT, what)


def _judged(ended: Finished, convention: Convention) -> Outcome:
    first = printable(ended.output.strip().partition("\n")[0].partition("|")[0].strip()[:_SHOWN])
    said = f": {first}" if first else ""
    if ended.timed_out:
        return down(Reason.TIMEOUT, f"the program took too long{said}")
    if ended.status < 0:
        return down(Reason.BAD_ANSWER, f"the program was killed by signal {-ended.status}{said}")
    if ended.status == _OK or (convention is Convention.NAGIOS and ended.status == _WARNING):
        return up(f"exit status {ended.status}{said}")
    if convention is Convention.NAGIOS and ended.status == _UNKNOWN:
        return _ours(f"exit status 3, which means that the program does not know{said}")
    return down(Reason.BAD_ANSWER, f"exit status {ended.status}{said}")
