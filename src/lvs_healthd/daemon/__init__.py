"""The daemon's lifetime: builds the parts of the daemon, runs them, reloads the configuration, and stops them."""
