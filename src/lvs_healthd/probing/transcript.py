"""Runs one check once, and notes what was said and heard: for `lvs-healthd checks try`."""

import asyncio
import time
from collections.abc import Iterable

import msgspec

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.secrecy import HIDDEN, is_secret_command, parts_of_command, request_without_secrets
from lvs_healthd.probes.exchange import Exchange, Farewell, MaySecure, Reconnect, Stays, Step, quote
from lvs_healthd.probes.http2_frames import FrameNames
from lvs_healthd.probes.outcome import Outcome
from lvs_healthd.probes.targets import hidden_parts, is_http2, target
from lvs_healthd.probing.once import ProbeResult, run_targets
from lvs_healthd.probing.without_daemon import runnable

_SHOWN = 200
"""How many bytes of each message are shown."""


class Entry(msgspec.Struct, frozen=True):
    """One thing that happened."""

    at_s: float
    """When it happened, seconds since the probe began."""
    what: str


class Trial(msgspec.Struct, frozen=True):
    """What one run of a check found, and how it went."""

    result: ProbeResult
    entries: tuple[Entry, ...]


def tried(check: AnyCheck) -> Trial:
    """Run a check once. Raises `OSError` when the files that it needs cannot be read."""
    return asyncio.run(_tried(check))


async def _tried(check: AnyCheck) -> Trial:
    async with runnable([check]) as served:
        (run,) = served.values()
        ready = target(run)
        notes = _FrameNotes() if is_http2(run) else _Notes(hidden_parts(run))
        recorded = msgspec.structs.replace(ready, begin=lambda: _Recorded(ready.begin(), notes), keeping=None)
        found = await run_targets({run: recorded})
    return Trial(found[run], tuple(notes.entries))


class _Notes:
    """What is said and heard, without secrets.

    hidden: the parts of secrets in an HTTP request, as far as an answer may repeat them; None if what is said is no
        such request, so that secrets have to be recognised in it.
    """

    def __init__(self, hidden: tuple[bytes, ...] | None) -> None:
        self.entries: list[Entry] = []
        self._began = time.monotonic()
        self._is_http = hidden is not None
        self._hidden = hidden or ()

    def add(self, what: str) -> None:
        self.entries.append(Entry(time.monotonic() - self._began, what))

    def sent(self, data: bytes) -> None:
        if self._is_http:
            self.add(f"sent      {_shown(request_without_secrets(data))}")
            return
        self._hidden += parts_of_command(data)
        self.add(f"sent      {HIDDEN if is_secret_command(data) else _shown(data)}")

    def heard(self, data: bytes) -> None:
        self.add(f"received  {_shown(data, self._hidden)}")


class _FrameNotes(_Notes):
    """What is said and heard over HTTP/2: the frames, without what is in them."""

    def __init__(self) -> None:
        super().__init__(None)
        self._sent, self._heard = FrameNames(), FrameNames()

    def sent(self, data: bytes) -> None:
        self.add(f"sent      {len(data)} bytes: {self._sent.feed(data)}")

    def heard(self, data: bytes) -> None:
        self.add(f"received  {len(data)} bytes: {self._heard.feed(data)}")


def _shown(data: bytes, hidden: Iterable[bytes] = ()) -> str:
    return f"{len(data)} bytes: {quote(data, _SHOWN, hidden=tuple(hidden))}"


class _Recorded(MaySecure):
    """Passes everything on to a conversation, and notes it."""

    def __init__(self, inner: Exchange, notes: _Notes) -> None:
        self._inner = inner
        self._notes = notes

    def connected(self) -> Step:
        self._notes.add("connected")
        return self._said(self._inner.connected())

    def received(self, data: bytes) -> Step:
        self._notes.heard(data)
        return self._said(self._inner.received(data))

    def closed(self) -> Outcome | Reconnect:
        self._notes.add("closed by the server")
        return self._ended(self._inner.closed())

    def failed(self, outcome: Outcome) -> Outcome | Reconnect:
        self._notes.add(outcome.detail)
        return self._ended(self._inner.failed(outcome))

    def expired(self, timeout: str) -> Outcome:
        self._notes.add(f"nothing more within {timeout}")
        return self._inner.expired(timeout)

    def decrypted(self) -> bytes | None:
        return self._inner.decrypted() if isinstance(self._inner, MaySecure) else None

    def end(self) -> None:
        self._inner.end()

    def _ended(self, step: Outcome | Reconnect) -> Outcome | Reconnect:
        return Reconnect(_Recorded(step.exchange, self._notes)) if isinstance(step, Reconnect) else step

    def _said(self, step: Step) -> Step:
        if isinstance(step, Reconnect):
            return self._ended(step)
        data = step.data if isinstance(step, Farewell | Stays) else step
        if isinstance(data, bytes) and data:
            self._notes.sent(data)
        return step
