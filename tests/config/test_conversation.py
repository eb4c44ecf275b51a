"""The `steps` of tcp and udp checks: what is read, what is refused and where, and how steps replace the short form."""

import pytest

from lvs_healthd.config.check_model import ConversationStep, StreamCheck
from tests.config.reading import checks_of, errors_of, service


def stream_check(check: str, **other: str) -> StreamCheck:
    (found,) = checks_of(service(check=check, **other))
    assert isinstance(found, StreamCheck)
    return found


def test_each_kind_of_step_is_read() -> None:
    found = stream_check(
        '{ type = "tcp", steps = [{ expect = "220 " }, { send = "A" }, { send_hex = "00 ff" }, { expect_hex = "0d0a" },'
        " { expect_regex = 'x+' }, { starttls = true }] }"
    )
    assert found.steps == (
        ConversationStep(expect=b"220 "),
        ConversationStep(send=b"A"),
        ConversationStep(send=b"\x00\xff"),
        ConversationStep(expect=b"\r\n"),
        ConversationStep(expect_regex="x+"),
        ConversationStep(starttls=True),
    )
    assert not found.is_silent


def test_a_check_that_only_sends_is_silent() -> None:
    assert stream_check('{ type = "tcp", steps = [{ send = "A" }] }').is_silent


@pytest.mark.parametrize("in_steps", [True, False])
def test_question_marks_in_hex_stand_for_any_digit(in_steps: bool) -> None:
    written = 'expect_hex = "1C ?? 3? ?a"'
    keys = f"steps = [{{ {written} }}]" if in_steps else written
    found = stream_check(f'{{ type = "tcp", {keys} }}')
    (step,) = found.steps or (found,)
    digits = "0123456789abcdef"
    high, low = "".join(rf"\x3{digit}" for digit in digits), "".join(rf"\x{digit}a" for digit in digits)
    assert (step.expect, step.expect_regex) == (b"", rf"\x1c.[{high}][{low}]")


TOO_MANY = ", ".join(["{ send = 'a' }"] * 65)
STEPS = "steps = [{ expect = 'a' }]"


@pytest.mark.parametrize(
    ("check", "messages"),
    [
        ('type = "tcp", steps = []', [
            ('check.steps: expected a list of steps such as [{ expect = "220 " }, { send = "QUIT\\r\\n" }], '
             "got an empty array"),
        ]),
        ('type = "tcp", steps = ["PING"]', [
            'check.steps[0]: expected a step such as { send = "PING" }, got "PING"',
        ]),
        ('type = "tcp", steps = [{ send = "a" }, { send = "a", expect = "b" }]', [
            ("check.steps[1]: expected a step with exactly one of send, send_hex, expect, expect_hex, expect_regex or "
             "starttls, got a table; give each of its keys a step of its own"),
        ]),
        ('type = "tcp", steps = [{ sent = "a" }]', [
            'check.steps[0].sent: unknown key; did you mean "send"?',
        ]),
        ('type = "tcp", steps = [{ zzz = "a" }, { expect_hex = "0" }, { expect_hex = "0?1" }]', [
            ("check.steps[0].zzz: unknown key; a step has one of send, send_hex, expect, expect_hex, expect_regex or "
             "starttls"),
            'check.steps[1].expect_hex: expected pairs of hexadecimal digits such as "1c 00 ff", got "0"',
            ('check.steps[2].expect_hex: expected pairs of hexadecimal digits or question marks such as "1c ?? f?", '
             'got "0?1"'),
        ]),
        ('type = "tcp", steps = [{ send = "" }, { starttls = false }]', [
            "check.steps[0].send: an empty step",
            "check.steps[1].starttls: leave the step out",
        ]),
        ('type = "tcp", steps = [{ starttls = true }, { send = "a" }, { starttls = true }]', [
            "check.steps[2].starttls: TLS has begun at an earlier step",
        ]),
        (f'type = "tcp", steps = [{TOO_MANY}]', ["check.steps[64]: more than 64 steps"]),
        (f'type = "tcp", send = "a", expect_hex = "00", {STEPS}', [
            "check.send: send and steps exclude each other; make it a step",
            "check.expect_hex: expect_hex and steps exclude each other; make it a step",
        ]),
        (f'type = "tcp", verify = false, {STEPS}', [
            "check.verify: this check never begins TLS; add the step { starttls = true }",
        ]),
        (f'type = "http", {STEPS}', [
            "check.steps: http checks have no such key; it belongs to tcp and udp checks; leave it out",
        ]),
        ("type = 'udp', steps = [{ expect = 'a' }]", [
            "check.steps[0]: a UDP server answers only what it is sent; begin with send or send_hex",
        ]),
        ("type = 'udp', steps = [{ send = 'a' }, { send = 'b' }, { expect = 'c' }, { starttls = true }]", [
            "check.steps[1]: two datagrams in succession; join them, or expect an answer between them",
            "check.steps[3].starttls: there is no TLS over UDP",
        ]),
        ("type = 'udp', steps = [{ send = 'a' }]", [
            "check.steps[0]: nothing waits for the answer to this; expect one, or write send instead of steps",
        ]),
        ("type = 'tcp', any_port = true", [
            "check.any_port: tcp checks have no such key; it belongs to udp checks; leave it out",
        ]),
        ("type = 'tcp', steps = [{ send = 'a' }, { expect_regex = 'a(b' }]", [
            "check.steps[1].expect_regex: not a regular expression: missing ): a(b",
        ]),
    ],
)  # fmt: skip
def test_conversation_that_cannot_be(check: str, messages: list[str]) -> None:
    assert errors_of(service(check=f"{{ {check} }}")) == [f'c.toml:4: service "web": {message}' for message in messages]


def test_an_expression_in_a_step_that_could_hold_up_all_probes_is_refused() -> None:
    steps = "steps = [{ send = 'a' }, { expect_regex = 'a[ab]{900}c' }]"
    (error,) = errors_of(service(check=f"{{ type = 'tcp', {steps} }}"))
    assert error.startswith('c.toml:4: service "web": check.steps[1]: an answer of 65536 bytes could make this')
    assert stream_check(f"{{ type = 'tcp', {steps}, max_answer = 1000 }}").steps


def test_steps_replace_an_inherited_short_form_and_the_other_way_round() -> None:
    short = '{ type = "tcp", send = "PING", expect = "PONG" }'
    longer = '{ type = "tcp", steps = [{ expect = "220" }], rise = 9 }'
    found = stream_check(short, servers='[{ address = "198.51.100.11", check = { steps = [{ expect = "220" }] } }]')
    assert (found.send, found.expect, len(found.steps)) == (b"", b"", 1)
    found = stream_check(longer, servers='[{ address = "198.51.100.11", check = { expect_regex = "221" } }]')
    assert (found.expect_regex, found.steps, found.rise) == ("221", (), 9)


def test_tls_keys_of_a_server_are_taken_where_the_service_s_check_begins_tls() -> None:
    servers = '[{ address = "198.51.100.11", check = { sni = "mail.example" } }]'
    found = stream_check('{ type = "tcp", steps = [{ starttls = true }] }', servers=servers)
    assert found.tls.sni == "mail.example"  # type: ignore[attr-defined]


def test_udp_check_with_steps_has_the_usual_defaults() -> None:
    found = stream_check('{ type = "udp", steps = [{ send = "a" }, { expect = "b" }], timeout = "500ms" }')
    assert (found.timeout, found.interval) == (0.5, 2.0)
