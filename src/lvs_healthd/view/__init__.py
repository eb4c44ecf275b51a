"""What the daemon answers when asked: its status, the IPVS table, and the samples for metrics."""
