"""The rise and fall machine: outcomes of one check in, its verdict out. Pure."""
