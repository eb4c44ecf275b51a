"""Runs programs for checks, in a process of its own without any privileges."""
