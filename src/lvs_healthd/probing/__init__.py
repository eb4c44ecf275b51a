"""Runs probes: sockets, deadlines, the schedule, and the worker processes."""
