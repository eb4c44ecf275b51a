"""Probe worker processes: they use several cores for probes, while the daemon alone decides and writes.

`pool` is the daemon's side, `process` is the worker's side, and `protocol` defines their messages. `python -m` with
this package runs a worker.
"""
