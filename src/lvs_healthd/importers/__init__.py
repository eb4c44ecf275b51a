"""Turns the tables and configurations of other programs into a configuration for lvs-healthd."""
