"""Asks the daemon again and again on a thread of its own, so that keys work while an answer is awaited."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from lvs_healthd.cli.asking import ControlError
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.status_values import Status


class Answer(NamedTuple):
    """What is known of the daemon now."""

    status: Status | None = None
    """Its last answer; None before the first."""
    at: float = 0.0
    """When that answer came, Unix time."""
    error: str = ""
    """Why it gives no answer now; "" if it does."""
    away_since: float = 0.0
    """When it was first asked in vain, Unix time; 0.0 while it answers."""


class Answers:
    """The newest answer of a daemon that is asked until `stop`.

    ask: fetches a status. May raise `ControlError`, and `UnknownNameError` if what the operator named is not there.
    every_s: the pause between two requests, seconds.
    """

    def __init__(self, ask: Callable[[], Status], every_s: float) -> None:
        self._ask = ask
        self._every_s = every_s
        self._latest = Answer()
        self._fault: Exception | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. Whoever waits for an answer is not waited for: the process ends without it."""
        self._stopped.set()

    def latest(self) -> Answer:
        """Return what is known now: the same object as before if nothing is new. Raises what a bug has raised."""
        if self._fault is not None:
            raise self._fault
        return self._latest

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._latest = self._asked()
                self._stopped.wait(self._every_s)
        except Exception as error:  # noqa: BLE001  # it ends the screen, whose thread raises it
            self._fault = error

    def _asked(self) -> Answer:
        before, began = self._latest, time.time()
        try:
            status = self._ask()
        except (ControlError, UnknownNameError) as error:
            return before._replace(error=str(error), away_since=before.away_since or began)
        return Answer(status, time.time())
