"""Saves what must survive a restart: the format of the state file, and when and how it is written."""
