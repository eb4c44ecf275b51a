"""The configuration: its records and their defaults (`model`), and the reader of its TOML file (`load`)."""
