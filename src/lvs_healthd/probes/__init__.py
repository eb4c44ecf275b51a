"""Probes: one file per protocol, sans-I/O. Only the engine (`probing.engine`) owns sockets."""
