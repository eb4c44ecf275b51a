"""lvs-healthd: probes real servers and keeps the kernel's IPVS table true to what it finds."""

__version__ = "0.1.0"
