"""lvs-healthd: probes real servers and keeps the kernel's IPVS table true to what it finds."""

__version__ = "0.1.0"
"""Set together with `RELEASED` in runtime/release.py."""
