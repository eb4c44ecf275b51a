"""What happened, as values, and the bus that hands them to log, metrics and state."""
