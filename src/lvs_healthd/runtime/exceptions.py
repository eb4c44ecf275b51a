"""The base classes of this program's exceptions.

All of them are expected trouble: the message is for an operator and says what to do. Any other exception that escapes
is a bug in this program. The concrete exceptions live in the packages that raise them.
"""


class HealthdError(Exception):
    """Something outside this program is not as it should be."""


class InputError(HealthdError):
    """Something that a person wrote cannot be used, such as a configuration, a command or a name."""


class HostError(HealthdError):
    """The host lacks what is needed (kernel, files, addresses, namespaces), or another daemon has it."""


class PeerError(HealthdError):
    """The other end of a connection does not answer, or its answer makes no sense."""
