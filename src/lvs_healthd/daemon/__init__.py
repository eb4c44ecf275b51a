"""The daemon's lifetime: its parts are built, run, reloaded and stopped here. No decision is made here."""
