"""The rise/fall machine, which turns one check's outcomes into its verdict. It is pure."""
