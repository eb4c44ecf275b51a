"""Imports structlog alone. It takes rich along where that is installed, for colours that this log does not use.

That would be 3 MiB of memory and a tenth of the daemon's start.
"""

import sys

_was_imported = "rich" in sys.modules
if not _was_imported:
    sys.modules["rich"] = None  # type: ignore[assignment]  # which makes its import fail
try:
    import structlog
finally:
    if not _was_imported:
        del sys.modules["rich"]

__all__ = ["structlog"]
