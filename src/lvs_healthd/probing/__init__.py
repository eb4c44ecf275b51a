"""Runs the probes: it has their sockets, deadlines and schedule, and the worker processes that share the work."""
