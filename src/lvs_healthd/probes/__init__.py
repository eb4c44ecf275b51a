"""Probes: one file per protocol, sans-I/O; `engine` alone owns sockets."""
