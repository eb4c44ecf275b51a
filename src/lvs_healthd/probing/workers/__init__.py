"""Probe worker processes: several cores for the probes, while one daemon alone decides and writes.

`pool` is the daemon's side, `process` the worker's, `protocol` what they say to each other. `python -m` this package is
a worker.
"""
