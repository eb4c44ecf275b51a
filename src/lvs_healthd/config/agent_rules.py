"""Values of an agent check that do not fit together."""

from collections.abc import Callable, Iterator


def misfits(has: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Yield the field and the message of every error in the combination of a check's values.

    has: returns whether a field is set.
    """
    if not has("port"):
        yield "type", "port is missing: an agent listens on a port of its own, as in port = 3333"
    if has("path") and has("send"):
        yield "send", "over HTTP the agent is sent a request; leave send or path out"
    if has("host") and not has("path"):
        yield "host", "a Host header is sent over HTTP only; add path"
