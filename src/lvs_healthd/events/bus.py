"""The event bus, which passes each event to every listener."""

from collections.abc import Callable

from lvs_healthd.events.kinds import Event


class Bus:
    """Passes each event to every listener, in the order in which they subscribed."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` for each event from now on. It must not block and must not raise."""
        self._listeners.append(listener)

    def emit(self, event: Event) -> None:
        """Pass an event to every listener."""
        for listener in self._listeners:
            listener(event)
