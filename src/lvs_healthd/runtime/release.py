"""States when this version was released. A clock that shows an earlier time is wrong."""

import datetime as dt

RELEASED = dt.datetime(2026, 11, 28, tzinfo=dt.UTC)
"""The day of the release, which is set together with the version. The files' own times cannot serve for this. They show
when somebody installed the files, by a clock that may have been wrong. In a reproducible package they show nothing."""
