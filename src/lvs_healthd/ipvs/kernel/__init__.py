"""Access to the kernel's IPVS through generic netlink, and through the list of connections in /proc."""
