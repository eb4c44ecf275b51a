"""Small tools that are not about health checks: network namespaces, the lock, threads, systemd, pacing."""
