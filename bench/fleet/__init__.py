"""Measures several directors together."""
