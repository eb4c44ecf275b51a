"""The log: each event becomes one line, as JSON for machines or as readable text on a terminal.

`configure` sets it up and returns the listener for the event bus. docs/logs.md explains every line.
"""

from lvs_healthd.log.setup import EventLog, configure

__all__ = ["EventLog", "configure"]
