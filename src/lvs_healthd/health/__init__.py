"""The rise/fall machine: one check's outcomes in, its verdict out. Pure."""
