"""What survives a restart: the file's format, and who writes it when."""
