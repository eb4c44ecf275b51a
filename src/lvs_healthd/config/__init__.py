"""The configuration: records and defaults (`model`), and TOML to records with every error at once (`load`)."""
