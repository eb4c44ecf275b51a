"""Small tools that are not about health checks: network namespaces, locks, threads, systemd, pacing."""
