"""Saves what must survive a restart in the state file: its format, and when and how it is written."""
