"""Makes the kernel's IPVS table equal to the wanted one, and keeps it equal."""
