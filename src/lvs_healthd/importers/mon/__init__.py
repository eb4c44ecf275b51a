"""Turns a configuration of mon (mon.cf, as mon 1.3.6 reads it) into one for lvs-healthd."""
