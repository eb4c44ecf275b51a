"""The base classes of this program's exceptions.

They all stand for problems that are to be expected: the message is for an operator, and says what to do. Any other
exception that escapes is a bug in this program. The concrete exceptions are in the packages that raise them.
"""


class HealthdError(Exception):
    """Something outside this program is not as it should be."""


class InputError(HealthdError):
    """Something that a person wrote cannot be used, such as a configuration, a command or a name."""


class HostError(HealthdError):
    """The host lacks something that is needed (kernel, files, addresses, namespaces), or another daemon uses it."""


class PeerError(HealthdError):
    """The other end of a connection does not answer, or its answer makes no sense."""
