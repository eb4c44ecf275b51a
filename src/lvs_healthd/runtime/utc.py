"""Writes points in time for operators."""

import datetime as dt


def utc(wall: float) -> str:
    """Write a Unix time for an operator: "2026-11-28 05:40 UTC"."""
    return f"{dt.datetime.fromtimestamp(wall, dt.UTC):%Y-%m-%d %H:%M} UTC"
