"""The events of the daemon, and the bus that passes them to the log and the metrics."""
