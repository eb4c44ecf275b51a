import pytest

from tests.config.reading import checks_of, errors_of, read, service

DURATION = "expected a duration from 50ms to 24h"
UNITS = 'write one number and a unit: "250ms", "2s", "1.5m", "1h" or "14d"'


KNOWN = "those of [daemon] are in lvs-healthd.toml(5)"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("50ms", 0.05), ("250ms", 0.25), ("2s", 2.0), ("1.5s", 1.5), ("0.5m", 30.0), ("2 m", 120.0), ("24h", 86400.0)],
)
def test_duration_has_a_unit(text: str, seconds: float) -> None:
    assert checks_of(service(check=f'{{ type = "tcp", interval = "{text}" }}'))[0].interval == seconds


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2", f'{DURATION}, got 2; give it a unit: "2s"'),
        ("1.5", f'{DURATION}, got 1.5; give it a unit: "1.5s"'),
        ("-2", f"{DURATION}, got -2; give it a unit"),
        ("nan", f"{DURATION}, got nan; give it a unit"),
        ("inf", f"{DURATION}, got inf; give it a unit"),
        ("true", f"{DURATION}, got true; {UNITS}"),
        ('"2"', f'{DURATION}, got "2"; {UNITS}'),
        ('"2m30s"', f'{DURATION}, got "2m30s"; {UNITS}'),
        ('"1w"', f'{DURATION}, got "1w"; {UNITS}'),
        ('"٢s"', f'{DURATION}, got "٢s"; {UNITS}'),
        ('"2s\\n"', f'{DURATION}, got "2s\\n"; {UNITS}'),
        ('"49ms"', f'{DURATION}, got "49ms"'),
        ('"24.001h"', f'{DURATION}, got "24.001h"'),
        ("07:32:00", f"{DURATION}, got the date or time 07:32:00; {UNITS}"),
        ("[]", f"{DURATION}, got an empty array; {UNITS}"),
    ],
)
def test_wrong_duration_is_explained(value: str, message: str) -> None:
    text = service(check=f'{{ type = "tcp", interval = {value} }}')
    assert errors_of(text) == [f'c.toml:4: service "web": check.interval: {message}']


@pytest.mark.parametrize(
    ("key", "bounds", "wrong"),
    [
        ("timeout", "a duration from 10ms to 1h", ['"9ms"', '"61m"']),
        ("rise", "1..1000", ["0", "1001", "true"]),
        ("fall", "1..1000", ["0", "1001"]),
        ("port", "1..65535", ["0", "65536", "-1"]),
        ("max_answer", "1..16777216", ["0", "16777217"]),
    ],
)
def test_bounds_of_a_check(key: str, bounds: str, wrong: list[str]) -> None:
    for value in wrong:
        text = service(check=f'{{ type = "tcp", {key} = {value} }}')
        assert errors_of(text) == [f'c.toml:4: service "web": check.{key}: expected {bounds}, got {value}']


def test_number_with_a_point_has_to_be_a_whole_one() -> None:
    text = service(check='{ type = "tcp", rise = 2.0 }')
    assert errors_of(text) == ['c.toml:4: service "web": check.rise: expected 1..1000, got 2.0; a whole number']


@pytest.mark.parametrize("value", ["1", "1000"])
def test_bounds_themselves_are_allowed(value: str) -> None:
    assert checks_of(service(check=f'{{ type = "tcp", rise = {value} }}'))[0].rise == int(value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("resync = 10", 'resync: expected a duration from 1s to 1h, got 10; give it a unit: "10s"'),
        ('resync = "999ms"', 'resync: expected a duration from 1s to 1h, got "999ms"'),
        ("max_probes = 0", "max_probes: expected 1..100000, got 0"),
        ('max_probes = "5"', 'max_probes: expected 1..100000, got "5"; without quotes'),
        ("max_probes = 100001", "max_probes: expected 1..100000, got 100001"),
        (f"max_probes = 0x{'f' * 5000}", "max_probes: expected 1..100000, got an integer of more than 64 bits"),
        ("probe_workers = 0", "probe_workers: expected 1..64, got 0"),
        ("probe_workers = 65", "probe_workers: expected 1..64, got 65"),
        ('mode = "shadwo"', 'mode: expected enforce or shadow, got "shadwo"; did you mean "shadow"?'),
        ('mode = "SHADOW"', 'mode: expected enforce or shadow, got "SHADOW"; did you mean "shadow"?'),
        ('mode = "off"', 'mode: expected enforce or shadow, got "off"'),
        ("mode = 1", "mode: expected enforce or shadow, got 1"),
        ('state = "state.json"', 'state: expected an absolute path, got "state.json"'),
        ('state = "/a\\u0000b"', 'state: expected an absolute path, got "/a\\u0000b"'),
        ("control = 7", "control: expected an absolute path, got 7"),
        (
            f'control = "/{"x" * 107}"',
            (
                "control: expected an absolute path of at most 107 bytes (the kernel's limit for sockets), "
                f'got "/{"x" * 79}…"'
            ),
        ),
        ("lsiten = 1", 'lsiten: unknown key; did you mean "listen"?'),
        (
            "colour = 1",
            f"colour: unknown key; {KNOWN}",
        ),
        (
            '"a b\\n" = 1',
            f'"a b\\n": unknown key; {KNOWN}',
        ),
    ],
)
def test_wrong_daemon_setting(line: str, message: str) -> None:
    assert errors_of(f"[daemon]\n{line}\n{service()}") == [f"c.toml:2: daemon.{message}"]


def test_daemon_settings_are_read() -> None:
    control = "/" + "x" * 106
    daemon = read(f'[daemon]\nresync = "1s"\ncontrol = "{control}"\nmode = "shadow"\n{service()}').daemon
    assert (daemon.resync, daemon.control, daemon.mode) == (1.0, control, "shadow")


TOO_OFTEN = "RE2 repeats 1000 times at most: use + or *, or several repetitions"
NO_LOOKING = "RE2 has no look-around: describe the text itself, without looking ahead or back"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "missing ): ("),
        ("ab[", "missing ]: ["),
        ("a**", "bad repetition operator: **"),
        ("a{1001}", f"invalid repetition size: {{1001}}; {TOO_OFTEN}"),
        ("a{99999999999}", TOO_OFTEN),
        ("(?u)a", "invalid perl operator: (?u"),
        ("(?=a)b", f"invalid perl operator: (?=; {NO_LOOKING}"),
        ("(?<!a)b", f"invalid perl operator: (?<!; {NO_LOOKING}"),
        (r"(a)\1", r"invalid escape sequence: \1; RE2 has no back-references: write out what is to be there twice"),
        (
            "a++b",
            "bad repetition operator: ++; RE2 never backtracks: leave out the possessive + or the atomic group (?>…)",
        ),
        ("(?x) a", "invalid perl operator: (?x; RE2 has no comments and no x flag: write the expression without them"),
    ],
)
def test_wrong_regular_expression_says_where(pattern: str, message: str) -> None:
    for key, kind in (("expect_regex", "tcp"), ("body_regex", "http")):
        text = service(check=f"{{ type = '{kind}', {key} = '{pattern}' }}")
        assert errors_of(text) == [f'c.toml:4: service "web": check.{key}: not a regular expression: {message}']


@pytest.mark.parametrize("value", ['"0g"', '"abc"', '"é"'])
def test_wrong_hexadecimal(value: str) -> None:
    assert errors_of(service(check=f'{{ type = "udp", send_hex = {value} }}')) == [
        'c.toml:4: service "web": check.send_hex: expected pairs of hexadecimal digits such as "1c 00 ff", got ' + value
    ]


@pytest.mark.parametrize("name", ["", " web", "web\\n", "x" * 129])
def test_wrong_name(name: str) -> None:
    text = service().replace('name = "web"', f'name = "{name}"')
    [error] = errors_of(text)
    assert "expected 1 to 128 printable characters without blanks at either end, got" in error
