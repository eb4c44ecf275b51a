"""The bus: hands each event to everybody who listens."""

from collections.abc import Callable

from lvs_healthd.events.kinds import Event


class Bus:
    """Hands each event to every listener, in the order they subscribed."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` for each later event. A listener must not block and must not raise."""
        self._listeners.append(listener)

    def emit(self, event: Event) -> None:
        """Tell every listener."""
        for listener in self._listeners:
            listener(event)
