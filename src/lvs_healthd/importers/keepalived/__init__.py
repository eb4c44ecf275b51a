"""Imports keepalived.conf as keepalived 2.2.7 and 2.3.3 read it."""
