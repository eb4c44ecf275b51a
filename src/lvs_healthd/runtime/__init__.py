"""Small tools that belong to no field: network namespace, lock, threads, service manager, pace."""
