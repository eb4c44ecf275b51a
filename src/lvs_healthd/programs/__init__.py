"""Runs programs for checks and hooks, in a process of its own without any privileges."""
