"""The events of the daemon, and the bus that passes them to log, metrics and state."""
