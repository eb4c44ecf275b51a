"""exec checks: any program as a check. Sans-I/O: the conversation is with the process that runs the programs.

A program that was killed by a signal has failed. mon takes such a program for success.
"""

import functools
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.check_model import Convention, ExecCheck, MonNames, Per
from lvs_healthd.probes import mon
from lvs_healthd.probes.exchange import Exchange, Step
from lvs_healthd.probes.outcome import AskedWeight, Outcome, Reason, Share, down, unsure, up
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
from lvs_healthd.runtime.printable import printable

KEPT_S = 1.0
"""How much longer a program may run than the check's timeout, seconds, in case that nobody ends it before."""

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/"}
"""The environment of every program. The daemon's own is not passed on."""

_SHOWN = 120
"""How many characters of a program's output are shown."""
_MOST_WHY = 1024
"""How many characters are shown of why a program was not run. The path of the program is among them."""
_OK, _WARNING, _UNKNOWN = 0, 1, 3
"""The exit statuses of Nagios plugins. Every other one is CRITICAL."""
_FAILED = 1
"""The one exit status that is a failure where the others ask for weights. Also that of a monitor that was ended."""


def program_runs(check: ExecCheck, wall: Callable[[], float] = time.time) -> Callable[[], Exchange]:
    """Return a factory that begins a conversation for each probe of this check.

    wall: Unix time, seconds.
    """
    port = str(check.port or "")
    words = [word.replace("{address}", check.address).replace("{port}", port) for word in check.command]
    variables = ENVIRONMENT | dict(check.environment)
    if check.per is Per.SERVER:
        variables |= {"LVS_ADDRESS": check.address, "LVS_PORT": port}
    timeout_s = check.timeout + KEPT_S
    if check.convention is Convention.MON:
        servers = check.servers or (Endpoint(check.address, check.port),)
        request = Request(mon.arguments(words, servers), variables, timeout_s, mon.STATE_FOLDERS)
        kind: _Kind = _Monitor(request, servers, check.mon or MonNames(group="", service=""), wall)
    else:
        kind = _Plain(Request(tuple(words), variables, timeout_s), check.convention, asks=check.dynamic_weight)
    return lambda: _Run(kind)


class _Kind(Protocol):
    """How programs of one convention are run, and what their ends mean."""

    def asked(self) -> bytes:
        """Return the request for the next run."""

    def judged(self, ended: Finished) -> Outcome:
        """Return what the end of a run means."""

    def late(self, timeout: str) -> Outcome:
        """Return what it means that a run has not ended in time, given in words ("5s")."""


class _Run:
    __slots__ = ("_answers", "_kind", "_started")

    def __init__(self, kind: _Kind) -> None:
        self._kind = kind
        self._answers = bytearray()
        self._started = False

    def connected(self) -> Step:
        return self._kind.asked()

    def received(self, data: bytes) -> Step:
        self._answers += data
        while b"\n" in self._answers:
            first, _, rest = self._answers.partition(b"\n")
            self._answers = rest
            try:
                said = answer(bytes(first))
            except GarbledMessageError:
                return _ours("the process that runs programs sent garbage")
            match said:
                case Started():
                    self._started = True
                case NotRun(why=why):
                    return _ours(printable(why[:_MOST_WHY]))
                case Finished():
                    return self._kind.judged(said)
        return None if len(self._answers) < MOST_BYTES else _ours("the process that runs programs sent garbage")

    def closed(self) -> Outcome:
        return _ours("the process that runs programs has ended")

    def failed(self, outcome: Outcome) -> Outcome:
        return _ours(f"the process that runs programs has gone: {outcome.detail}")

    def expired(self, timeout: str) -> Outcome:
        if self._started:
            return self._kind.late(timeout)
        return _ours(f"the program could not be started in {timeout}, because as many as allowed are running: max_exec")

    def end(self) -> None:
        """Do nothing, because nothing refers back to this object."""


class _Plain:
    """A program that is run for one server, and about which nothing is remembered."""

    def __init__(self, request: Request, convention: Convention, *, asks: bool) -> None:
        self._asked = line(request)
        self._convention = convention
        self._asks = asks
        """Whether the exit status also asks for a weight."""

    def asked(self) -> bytes:
        return self._asked

    def judged(self, ended: Finished) -> Outcome:
        said = _said(_first_line(ended.output))
        if (failure := _without_status(ended, said)) is not None:
            return failure
        if self._asks and ended.status != _FAILED:
            is_whole = ended.status == _OK
            weight = AskedWeight(100, is_share=True) if is_whole else AskedWeight(ended.status - 2, is_share=False)
            passed = up(f"exit status {ended.status}, {'the whole weight' if is_whole else weight}{said}")
            return msgspec.structs.replace(passed, asks=weight)
        if ended.status == _OK or (self._convention is Convention.NAGIOS and ended.status == _WARNING):
            return up(f"exit status {ended.status}{said}")
        if self._convention is Convention.NAGIOS and ended.status == _UNKNOWN:
            return _ours(f"exit status 3, which means that the program does not know{said}")
        return down(Reason.BAD_ANSWER, f"exit status {ended.status}{said}")

    def late(self, timeout: str) -> Outcome:
        return down(Reason.TIMEOUT, f"the program has not ended in {timeout}")


class _Monitor:
    """A program that mon could run, for one server or for several."""

    def __init__(
        self, request: Request, servers: tuple[Endpoint, ...], names: MonNames, wall: Callable[[], float]
    ) -> None:
        self._request = request
        self._servers = servers
        self._names = mon.Names(servers)
        self._history = mon.History(names, wall)

    def asked(self) -> bytes:
        # The variables of the configuration come last, so that they can replace those of the convention.
        environment = self._history.variables() | self._request.environment
        folders = tuple(name for name in self._request.folders if name not in environment)
        return line(msgspec.structs.replace(self._request, environment=environment, folders=folders))

    def judged(self, ended: Finished) -> Outcome:
        is_odd = ended.timed_out or ended.status < 0
        self._history.ended(ended.output, _FAILED if is_odd else ended.status)
        if ended.timed_out:
            return self._too_slow("the program took too long")
        said = _said(_first_line(ended.output))
        if (failure := _without_status(ended, said)) is not None:
            return self._with_run(failure)
        status = f"exit status {ended.status}"
        if ended.status == _OK:
            return self._with_run(up(f"{status}{said}"))
        summary, _, detail = ended.output.partition("\n")
        lines = self._names.lines(detail)
        failed = self._names.named(summary) or dict.fromkeys(self._servers)
        found = {
            server: self._with_run(down(Reason.BAD_ANSWER, status + (_said(lines.get(server, "")) or said)))
            for server in failed
        }
        if len(self._servers) == 1:
            return found[self._servers[0]]
        return msgspec.structs.replace(
            self._with_run(up(f"{status}, but for other servers only")),
            apart=tuple(Share(server, outcome) for server, outcome in found.items()),
        )

    def late(self, timeout: str) -> Outcome:
        self._history.ended("", _FAILED)
        return self._too_slow(f"the program has not ended in {timeout}")

    def _with_run(self, outcome: Outcome) -> Outcome:
        """Return an outcome that says how the last failed run ended, for hooks with mon's convention."""
        failed = self._history.failed
        return outcome if failed is None else msgspec.structs.replace(outcome, monitor=failed)

    def _too_slow(self, what: str) -> Outcome:
        """Return the outcome of a run that was ended.

        Many monitors ask one server after the other. If one hangs, nobody knows which, and the others may be well.
        """
        if len(self._servers) == 1:
            return self._with_run(down(Reason.TIMEOUT, what))
        return _ours(
            f"{what} for {len(self._servers)} servers, so nobody knows which is slow: raise timeout, or write "
            'per = "server"'
        )


@functools.lru_cache(maxsize=64)
def _ours(what: str) -> Outcome:
    return unsure(Reason.LOCAL_LIMIT, what)


def _without_status(ended: Finished, said: str) -> Outcome | None:
    """Return the outcome of a program that was ended from outside; None of one that has an exit status."""
    if ended.timed_out:
        return down(Reason.TIMEOUT, f"the program took too long{said}")
    if ended.status < 0:
        return down(Reason.BAD_ANSWER, f"the program was killed by signal {-ended.status}{said}")
    return None


def _first_line(output: str) -> str:
    """Return the first line that says something, without the figures that Nagios plugins add."""
    return output.strip().partition("\n")[0].partition("|")[0]


def _said(text: str) -> str:
    shown = printable(text.strip()[:_SHOWN])
    return f": {shown}" if shown else ""
