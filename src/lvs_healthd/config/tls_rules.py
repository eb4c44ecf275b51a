"""Values of a check that do not fit together when it uses TLS, or that do nothing because it does not."""

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

from lvs_healthd.config.check_model import Carrier, ConversationStep
from lvs_healthd.config.schema import TLS_FIELDS

PairProblem = Callable[[str, str], tuple[str, str] | None]
"""Takes the paths of a client's certificate and key, and returns what `tls_values.pair_problem` does."""


def tls_misfits(
    kind: str,
    fields: Mapping[str, Any],
    wrong: Container[str],
    written: Container[str],
    pair_problem: PairProblem,
) -> Iterator[tuple[str, str]]:
    """Yield the field and the message of every error in the combination of a check's values.

    kind: the type of the check.
    fields: the values of the check, inherited ones too.
    wrong: the fields that were written with a wrong value.
    written: the fields that were written in the table that is being read.
    """
    steps: tuple[ConversationStep, ...] = fields.get("steps", ())
    if kind == "grpc" and fields.get("over") is Carrier.UDP:
        yield "over", 'gRPC needs a connection; write over = "tcp" or "tls"'
        return
    unused = _unused(kind, fields, steps)
    if unused:
        yield from ((field, unused) for field in TLS_FIELDS if field in written)
        return
    cert, key = fields.get("client_cert", ""), fields.get("client_key", "")
    if (cert or key) and "client_cert" not in wrong and "client_key" not in wrong:
        problem = pair_problem(cert, key)
        if problem is not None:
            yield problem
    if cert and kind == "tcp" and not _hears_after_tls(steps):
        message = "with TLS 1.3 a server refuses a certificate only after the handshake, when this check is over; "
        yield "client_cert", message + "add a step that expects something after { starttls = true }"
    if kind in {"https", "grpc"} and fields.get("alpn") is not None and "http_version" not in wrong:
        yield from _over_alpn("2" if kind == "grpc" else fields.get("http_version", "1.1"), fields["alpn"])


def _over_alpn(version: str, alpn: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Refuse protocols that do not go with the version of HTTP that a check speaks."""
    if version == "2" and alpn != ("h2",):
        yield "alpn", "HTTP/2 is selected by the name h2 alone, which the check offers by itself; leave alpn out"
    elif version != "2" and "h2" in alpn:
        fix = 'write http_version = "2", or leave h2 out'
        yield "alpn", f"a server that selects h2 expects HTTP/2, and this check speaks HTTP/{version}; {fix}"


def _unused(kind: str, fields: Mapping[str, Any], steps: tuple[ConversationStep, ...]) -> str:
    """Return the message for a key of TLS in a check that never uses it; empty when it does."""
    if kind == "tcp" and not any(step.starttls for step in steps):
        return "this check never begins TLS; add the step { starttls = true }"
    if kind in {"dns", "grpc"} and fields.get("over") is not Carrier.TLS:
        return 'this check uses no TLS; write over = "tls"'
    return ""


def _hears_after_tls(steps: tuple[ConversationStep, ...]) -> bool:
    """Return whether the server must say something after TLS has begun."""
    begun = max(index for index, step in enumerate(steps) if step.starttls)
    return any(step.expects for step in steps[begun + 1 :])
