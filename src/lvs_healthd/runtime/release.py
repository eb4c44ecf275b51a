"""When this version was released. A clock that says less is wrong."""

import datetime as dt

RELEASED = dt.datetime(2026, 11, 28, tzinfo=dt.UTC)
"""The day of the release, set together with the version. It is written down here, because the files' own times say when
somebody installed them, by a clock that may have been wrong, or nothing at all in a reproducible package."""
