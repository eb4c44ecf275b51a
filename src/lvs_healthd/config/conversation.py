"""Parses the `steps` of tcp and udp checks."""

from collections.abc import Callable, Iterator

from lvs_healthd.config.check_model import ConversationStep
from lvs_healthd.config.errors import Problem, WrongValueError, expected
from lvs_healthd.config.shapes import Shape, shape_of, table_shape, with_shape
from lvs_healthd.config.values import (
    boolean,
    did_you_mean,
    hex_bytes,
    hex_or_pattern,
    listed,
    listing,
    regex,
    text_bytes,
)

LONGEST_CONVERSATION = 64
"""The maximum number of steps of a check."""

_EXAMPLE = r'a list of steps such as [{ expect = "220 " }, { send = "QUIT\r\n" }]'

_PARSERS: dict[str, Callable[[object], object]] = {
    "send": text_bytes,
    "send_hex": hex_bytes,
    "expect": text_bytes,
    "expect_hex": hex_or_pattern,
    "expect_regex": regex,
    "starttls": boolean,
}


def steps(value: object) -> tuple[ConversationStep, ...]:
    """Parse the steps of a conversation."""
    found = _listed(value)
    if len(found) > LONGEST_CONVERSATION:
        raise WrongValueError(Problem((LONGEST_CONVERSATION,), f"more than {LONGEST_CONVERSATION} steps"))
    second = [index for index, step in enumerate(found) if step.starttls][1:]
    if second:
        raise WrongValueError(Problem((second[0], "starttls"), "TLS has begun at an earlier step"))
    return found


def problems_over_udp(found: tuple[ConversationStep, ...]) -> Iterator[Problem]:
    """Yield what cannot work over UDP, where nobody speaks unasked and each step is a datagram."""
    for index, step in enumerate(found):
        if step.starttls:
            yield Problem((index, "starttls"), "there is no TLS over UDP")
        elif step.send and index and found[index - 1].send:
            yield Problem((index,), "two datagrams in succession; join them, or expect an answer between them")
    if found and not found[0].send:
        yield Problem((0,), "a UDP server answers only what it is sent; begin with send or send_hex")
    elif len(found) == 1:
        yield Problem((0,), "nothing waits for the answer to this; expect one, or write send instead of steps")


def _step(value: object) -> ConversationStep:
    if not isinstance(value, dict):
        raise expected('a step such as { send = "PING" }', value)
    if len(value) != 1:
        raise expected(
            f"a step with exactly one of {listing(_PARSERS)}", value, "give each of its keys a step of its own"
        )
    [(key, written)] = value.items()
    parse = _PARSERS.get(key)
    if parse is None:
        guess = did_you_mean(key, _PARSERS)
        raise WrongValueError(Problem((key,), f"unknown key; {guess or f'a step has one of {listing(_PARSERS)}'}"))
    try:
        parsed = parse(written)
    except WrongValueError as error:
        raise WrongValueError(*(Problem((key, *each.at), each.message) for each in error.problems)) from error
    if not parsed:
        raise WrongValueError(Problem((key,), "leave the step out" if key == "starttls" else "an empty step"))
    return ConversationStep(**{_field(key, parsed): parsed})  # type: ignore[arg-type]  # each parser suits its field


def _field(key: str, parsed: object) -> str:
    if key == "expect_hex" and isinstance(parsed, str):
        return "expect_regex"
    return key.removesuffix("_hex")


with_shape(_step, table_shape(_PARSERS, "a step", minProperties=1, maxProperties=1))
_listed = listed(_step, _EXAMPLE)

with_shape(
    steps, Shape(schema={**shape_of(_listed).schema, "maxItems": LONGEST_CONVERSATION}, words=shape_of(_listed).words)
)
