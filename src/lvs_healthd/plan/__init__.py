"""The policy, which computes the wanted table from the configuration, the verdicts and the kernel's table. It is pure.

Each server in the wanted table has a reason, for the log and for operators.
"""
