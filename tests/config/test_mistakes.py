"""What is said of a file that is not TOML: the real cause, its line, and what to write."""

import pytest

from tests.config.reading import errors_of, service

HEAD = '[[service]]\nname = "web"\n'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("scheduler = wrr\n", 'c.toml:3: text stands in quotes: scheduler = "wrr"'),
        ("scheduler = wrr  # why\n", 'c.toml:3: text stands in quotes: scheduler = "wrr"'),
        ("address = 192.0.2.1:80\n", 'c.toml:3: text stands in quotes: address = "192.0.2.1:80"'),
        ("address = [2001:db8::1]:80\n", 'c.toml:3: text stands in quotes: address = "[2001:db8::1]:80"'),
        ("persistence = 300s\n", 'c.toml:3: text stands in quotes: persistence = "300s"'),
        ("check = { type = tcp }\n", 'c.toml:3: text stands in quotes: type = "tcp"'),
        ('check = { type = "tcp", interval = 2s }\n', 'c.toml:3: text stands in quotes: interval = "2s"'),
        ("real_server = [\n192.0.2.1,\n]\n", 'c.toml:4: real_server: text stands in quotes: "192.0.2.1"'),
        ("scheduler = \u201cwrr\u201d\n", 'c.toml:3: quotes have to be straight ones: scheduler = "wrr"'),
        ("one_packet = True\n", "c.toml:3: in small letters: one_packet = true"),
        ('check = { type = "https", verify = FALSE }\n', "c.toml:3: in small letters: verify = false"),
        ("synproxy = yes\n", "c.toml:3: a switch is true or false: synproxy = true"),
        ("synproxy = off\n", "c.toml:3: a switch is true or false: synproxy = false"),
        ("tun_checksum = on\n", 'c.toml:3: text stands in quotes: tun_checksum = "on"'),
        ("scheduler =\n", "c.toml:3: scheduler: there is no value"),
        ("scheduler == 1\n", "c.toml:3: scheduler: one = is enough"),
        ('scheduler "wrr"\n', 'c.toml:3: not KEY = VALUE: scheduler "wrr"'),
    ],
)
def test_value_that_is_none(text: str, error: str) -> None:
    assert errors_of(HEAD + text) == [error]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('scheduler = "wrr\n', 'c.toml:3: scheduler: the quote that opens here is not closed: "wrr'),
        ("scheduler = 'wrr\n", "c.toml:3: scheduler: the quote that opens here is not closed: 'wrr"),
        ('scheduler = "wrr', 'c.toml:3: scheduler: the quote that opens here is not closed: "wrr'),
        (
            'real_server = [\n  "198.51.100.11,\n  "198.51.100.12",\n]\n',
            'c.toml:4: real_server: the quote that opens here is not closed: "198.51.100.11,',
        ),
        (
            'check = { type = "http, path = "/healthz" }\n',
            'c.toml:3: the quotes on this line do not pair up: check = { type = "http, path = "/healthz" }',
        ),
        (
            'scheduler = """wrr\n[daemon]\nlisten = ""\n',
            'c.toml:3: scheduler: the text that begins here with """ is never closed',
        ),
        (
            'real_server = [\n  "198.51.100.11",\n\nscheduler = "wrr"\n',
            "c.toml:3: real_server: the [ that opens here is not closed: a ] is missing before line 6",
        ),
        (
            'real_server = [\n  "198.51.100.11",\n[[service]]\nname = "b"\n',
            "c.toml:3: real_server: the [ that opens here is not closed: a ] is missing before line 5",
        ),
        (
            'real_server = [\n  "198.51.100.11",\n',
            "c.toml:3: real_server: the [ that opens here is not closed: a ] is missing before the end of the file",
        ),
        (
            'check = { type = "tcp"\nscheduler = "rr"\n',
            "c.toml:3: check: the { that opens here is not closed: a } is missing before line 4",
        ),
        (
            'real_server = [{ address = "198.51.100.11" ]\n',
            "c.toml:3: real_server: the { that opens here is not closed: a } is missing before ]",
        ),
        (
            'real_server = [\n  "198.51.100.11"\n  "198.51.100.12",\n]\n',
            'c.toml:5: real_server: a comma is missing before "198.51.100.12",',
        ),
    ],
)
def test_what_is_not_closed_is_told_at_the_line_that_opens_it(text: str, error: str) -> None:
    assert errors_of(HEAD + text) == [error]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('scheduler = "rr"\nscheduler = "wrr"\n', "c.toml:4: scheduler is already set, on line 3; keep one of them"),
        ('name = "b"\n', "c.toml:3: name is already set, on line 2; keep one of them"),
        (
            '[[service]]\nname = "b"\nscheduler = "rr"\n[daemon]\n[daemon]\nlisten = ""\n',
            "c.toml:7: [daemon] is already there, on line 6: write its keys there",
        ),
        (
            'check = "tcp"\n[service.check]\ntype = "http"\n',
            "c.toml:4: [service.check]: check is already set, on line 3; keep one of them",
        ),
        (
            '[service.check]\ntype = "tcp"\n[service.check]\ntype = "http"\n',
            (
                "c.toml:5: [service.check] is already there, on line 3: write its keys there; "
                "for several write [[service.check]] each time"
            ),
        ),
        (
            'real_server = ["198.51.100.1"]\n[[service.real_server]]\naddress = "198.51.100.2"\n',
            "c.toml:4: [[service.real_server]]: real_server is already set, on line 3; keep one of them",
        ),
        ('[service]\nname = "b"\n', "c.toml:3: [service] is a list, as on line 1: write [[service]]"),
        (
            'check = { type = "tcp", type = "http" }\n',
            "c.toml:3: type is set twice between the braces; keep one of them",
        ),
    ],
)
def test_what_is_there_twice_names_the_first(text: str, error: str) -> None:
    assert errors_of(HEAD + text) == [error]


@pytest.mark.parametrize(
    ("written", "fixed"),
    [(r'"\A220 "', r"'\A220 '"), (r'"it\'s \d"', r'''"it\\'s \\d"'''), (r'"\x4"', r"'\x4'")],
)
def test_backslash_in_double_quotes(written: str, fixed: str) -> None:
    how = "write it twice" if "'" in written else "write such text in single quotes"
    assert errors_of(f"{HEAD}[service.check]\nexpect_regex = {written}\n") == [
        f"c.toml:4: in double quotes a backslash begins an escape such as \\n; {how}: expect_regex = {fixed}"
    ]


def test_several_mistakes_are_found_in_one_run() -> None:
    text = HEAD + 'scheduler = wrr\nscheduler = "rr"\none_packet = True\non_failure = "remove\nforward = dr\nx = [1\n'
    assert [error.partition(": ")[0] for error in errors_of(text)] == [f"c.toml:{line}" for line in (3, 4, 5, 6, 7, 8)]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("! comment\nvirtual_server 192.0.2.1 80 {\n  lb_algo rr\n}\n", "this is a configuration of keepalived"),
        ("global_defs {\n}\nvrrp_instance VI_1 {\n}\n", "this is a configuration of keepalived"),
        (
            "checktimeout = 3\nvirtual=192.0.2.1:80\n\treal=198.51.100.1:80 gate\n",
            "this is a configuration of ldirectord",
        ),
        ("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 198.51.100.1:80 -m\n", "this is a saved IPVS table"),
    ],
)
def test_file_of_another_program_is_named(text: str, what: str) -> None:
    (error,) = errors_of(text)
    assert error.startswith(f"c.toml: {what}")
    assert "lvs-healthd import ipvsadm" in error


def test_configuration_is_not_taken_for_another_program_s() -> None:
    text = service('one_packet = True\nscheduler = "virtual_server {"')
    assert errors_of(text) == ["c.toml:6: in small letters: one_packet = true"]
