"""What verbs exit with. It imports next to nothing, for those that must start quickly."""

import enum


class ExitStatus(enum.IntEnum):
    """What a verb exits with."""

    OK = 0
    FAILED = 1
    """Refused, or failed."""
    USAGE = 2
    """The command line makes no sense."""
    TROUBLE = 3
    """The verb did its work, and found something that is not well."""
    UNREACHABLE = 4
    """No daemon was reached."""
