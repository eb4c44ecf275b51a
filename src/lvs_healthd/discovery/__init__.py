"""Sources of real servers: asks each what it lists, and whether that has changed."""
