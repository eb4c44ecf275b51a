"""The benchmark: `python -m bench`. What is measured and how to read it is in docs/performance.md."""
