"""What the daemon tells when asked: its status, the table and the samples of the metrics."""
