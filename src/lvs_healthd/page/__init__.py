"""The status page: HTML of what the daemon tells of itself. It is readable without scripts, and changes nothing."""
