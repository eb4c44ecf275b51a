"""The kernel's side of IPVS: generic netlink, and what it lists in /proc."""
