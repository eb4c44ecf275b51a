"""The lab: real kernel IPVS with real clients and servers, on any machine. The tests and the demo run in it.

Where the machine has `ip_vs` and we are root, the lab is network namespaces on the machine itself; elsewhere it is the
same namespaces in a small VM that runs Debian's kernel on the machine's own files. See docs/lab.md.
"""
