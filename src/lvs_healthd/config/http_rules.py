"""Values of an http or https check that do not fit together."""

from collections.abc import Iterator, Mapping
from typing import Any

from lvs_healthd.config.errors import show


def misfits(fields: Mapping[str, Any], wrong: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield the field and the message of every error in the combination of a check's values.

    fields: the values of the check, inherited ones too.
    wrong: the fields that were written with a wrong value. They count as set.
    """

    def has(field: str) -> bool:
        return field in wrong or bool(fields.get(field))

    yield from _credentials(fields, has("user"), has("password_file"), has("token_file"))
    for field in ("body", "body_regex"):
        if fields.get("method") == "HEAD" and has(field):
            yield field, "the answer to HEAD has no body; use GET"


def _credentials(fields: Mapping[str, Any], user: bool, password: bool, token: bool) -> Iterator[tuple[str, str]]:  # noqa: FBT001
    if user and token:
        yield "user", 'a bearer token has no user: leave out token_file, or write user = ""'
    elif user and not password:
        yield "user", "without a password it does nothing; add password_file"
    elif password and not user:
        yield "password_file", "a password needs a user; add user, or use token_file for a bearer token"
    for name, _ in fields.get("headers", ()):
        if name.lower() == "authorization" and (password or token):
            key = "password_file" if password else "token_file"
            yield "headers", f"{show(name)} is already sent because of {key}; keep one of them"
