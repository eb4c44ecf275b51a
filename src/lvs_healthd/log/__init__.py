"""The log: every event as one line, JSON for machines, readable on a terminal.

`configure` sets it up and returns the listener for the event bus. What each line means is in docs/logs.md.
"""

from lvs_healthd.log.setup import EventLog, configure

__all__ = ["EventLog", "configure"]
