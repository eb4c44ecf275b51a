"""The root of this program's exceptions, and its branches.

All of them are expected trouble: the message is for an operator, and says what to do. Whatever else escapes is a fault
of this program. The concrete exceptions live in the rooms that raise them.
"""


class HealthdError(Exception):
    """Something outside this program is not as it should be."""


class InputError(HealthdError):
    """Something that a person wrote cannot be used: a configuration, a command, a name."""


class HostError(HealthdError):
    """The host does not give what is needed: its kernel, files, addresses or namespaces, or another daemon has it."""


class PeerError(HealthdError):
    """The other end of a connection is not there, or says what it cannot mean."""
