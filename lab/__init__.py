"""The lab: real kernel IPVS with real clients and servers, on any machine. The tests and the demo run in it.

If the machine has `ip_vs` and we are root, the lab consists of network namespaces on the machine itself. Otherwise the
same namespaces are in a small VM, which runs Debian's kernel on the machine's own files. See docs/lab.md.
"""
