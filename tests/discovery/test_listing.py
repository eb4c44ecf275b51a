"""Lists of servers as text: what is read of them, and where what is wrong is told."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.sources import Entry, said
from lvs_healthd.discovery.listing import LARGEST, MOST_SERVERS, ListError, read_list

EXAMPLES = Path(__file__).parents[2] / "examples"


def read(text: str) -> list[tuple[str, int, str]]:
    return [(each.address, each.weight, each.place) for each in read_list(text.encode(), "web")]


def test_one_server_a_line_with_comments_weights_and_ranges() -> None:
    text = (
        "# of the rack\n\n198.51.100.11:80\r\n 198.51.100.12 weight=3 # new\n"
        "[2001:db8::0:1]:80\n198.51.100.21-22:81 weight=0"
    )
    assert read(text) == [
        ("198.51.100.11:80", 1, "web:3"),
        ("198.51.100.12", 3, "web:4"),
        ("[2001:db8::1]:80", 1, "web:5"),
        ("198.51.100.21:81", 0, "web:6"),
        ("198.51.100.22:81", 0, "web:6"),
    ]


def test_json_with_addresses_and_objects() -> None:
    text = '\n[\n "198.51.100.11:80",\n {"address": "[2001:db8::1]",\n  "weight": 2}]\n'
    assert read(text) == [("198.51.100.11:80", 1, "web:3"), ("[2001:db8::1]", 2, "web:4")]
    assert read('{ "real_server":\n["198.51.100.11"] }') == [("198.51.100.11", 1, "web:2")]


@pytest.mark.parametrize("text", ["", "\n# nobody\n", "[]", ' { "real_server": [ ] }\n'])
def test_list_may_be_empty(text: str) -> None:
    assert read(text) == []


def test_line_that_begins_with_an_ipv6_address_is_no_json() -> None:
    assert read("[::1]:80\n[fd00::1]") == [("[::1]:80", 1, "web:1"), ("[fd00::1]", 1, "web:2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("198.51.100.11\nweb1.example.net:80", 'web:2: expected an address and port, got "web1.example.net:80"; '),
        ("198.51.100.11 weight=x", 'web:1: expected an address, and perhaps weight=2 after it, got "weight=x"'),
        (
            "198.51.100.11 weight=1 weight=2",
            'web:1: expected an address, and perhaps weight=2 after it, got "weight=2"',
        ),
        ("198.51.100.11 forward=dr", 'web:1: expected an address, and perhaps weight=2 after it, got "forward=dr"'),
        ("198.51.100.11 weight=65536", "web:1: weight: expected 0..65535, got 65536"),
        ("198.51.100.11\n\n198.51.100.10-12", "web:3: 198.51.100.11 is already listed, on line 1; keep one of them"),
        ("<html>404</html>", "web:1: expected an address and port, got "),
        ('["198.51.100.11",\n"198.51.100.12"', "web:2: expected a comma or ], got the end of the file"),
        ('["198.51.100.11"] x', 'web:1: expected nothing more, got "x"'),
        ('["198.51.100.11",]', "web:1: not JSON: Expecting value"),
        ('["198.51.100.11", 7]', "web:1: expected an address such as"),
        ('[{"weight": 2}]', "web:1: expected an address such as"),
        ('[{"address": "198.51.100.11", "weight": true}]', "web:1: weight: expected 0..65535, got true"),
        ('[{"address": "198.51.100.11", "weight": -1}]', "web:1: weight: expected 0..65535, got -1"),
        (
            '[\n{"address": "198.51.100.11", "check": {"command": ["/bin/sh"]}}]',
            'web:2: "check" is nothing that a source',
        ),
        ('[{"address": "198.51.100.11", "address": "198.51.100.12"}]', "web:1: not JSON: a key is there twice"),
        ('[{"address": ["198.51.100.11"]}]', "web:1: expected a string"),
        ('{"servers": []}', 'web:1: expected "real_server" of { "real_server": […] }, got'),
        ('{"real_server": [], "more": 1}', "web:1: expected }, got"),
        ('["' + "[" * 100_000, "web:1: not JSON: Unterminated string"),
        ('["198.51.100.11", ' + "[" * 100_000, "web:1: not JSON: "),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ListError) as caught:
        read(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_and_files_without_end() -> None:
    with pytest.raises(ListError, match="web:2: not text in UTF-8"):
        read_list(b"198.51.100.11\n\xff\xfe", "web")
    with pytest.raises(ListError, match="larger than 1 MiB"):
        read_list(b"#" * (LARGEST + 1), "web")
    many = "\n".join(
        f"10.{number // 65536}.{number // 256 % 256}.{number % 256}:80" for number in range(MOST_SERVERS + 1)
    )
    with pytest.raises(ListError, match=f"more than {MOST_SERVERS} servers"):
        read_list(many.encode(), "web")


@given(st.binary(max_size=200) | st.text(alphabet='[]{}":, \n#=.0123456789abweight', max_size=60).map(str.encode))
def test_no_content_ends_in_anything_but_servers_or_an_error(content: bytes) -> None:
    entries: tuple[Entry, ...] = ()
    with contextlib.suppress(ListError):
        entries = read_list(content, "web")
    assert len({each.address for each in entries}) == len(entries)


@given(
    st.lists(
        st.tuples(st.ip_addresses(v=4).filter(lambda each: each.is_private), st.integers(0, 9)),
        unique_by=lambda each: each[0],
    )
)
def test_json_and_lines_say_the_same(servers: list[tuple[object, int]]) -> None:
    usable = [(str(address), weight) for address, weight in servers if not str(address).startswith(("0.", "24", "25"))]
    lines = "".join(f"{address}:80 weight={weight}\n" for address, weight in usable)
    objects = json.dumps([{"address": f"{address}:80", "weight": weight} for address, weight in usable], indent=1)
    assert [(each.address, each.weight) for each in read_list(objects.encode(), "web")] == [
        (each.address, each.weight) for each in read_list(lines.encode(), "web")
    ]
    assert all(isinstance(each, Entry) for each in read_list(lines.encode(), "web"))


def test_samples_in_the_examples_say_the_same() -> None:
    lines, objects = (EXAMPLES / name for name in ("web.list", "web-list.json"))
    found = [said(read_list(each.read_bytes(), each.name)) for each in (lines, objects)]
    assert found[0] == found[1]
    assert (len(found[0]), found[0]["198.51.100.12:8080"]) == (11, 2)
