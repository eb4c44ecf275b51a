"""Access to the kernel's IPVS: generic netlink, and the connections listed in /proc."""
