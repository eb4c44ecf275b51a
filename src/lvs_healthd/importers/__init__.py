"""Other programs' tables and configurations, read and turned into a configuration of ours."""
