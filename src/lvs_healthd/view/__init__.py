"""Describes the running daemon to those who ask: its status, the IPVS table, and the samples for metrics."""
