"""The daemon's lifetime: builds its parts, runs them, reloads them and stops them. It makes no decisions."""
