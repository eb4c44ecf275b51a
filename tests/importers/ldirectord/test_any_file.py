"""Whatever is in a file: each line is accounted for, and what is written can be read, or a check is asked for."""

from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.importers.ldirectord.keys import GLOBAL, SERVICES, VIRTUAL
from tests.importers.ldirectord.files import config, read

KEYS = sorted({*GLOBAL, *VIRTUAL, "virtual", "virtual6", "real", "real6", "fallback", "fallback6", "nonsense"})
VALUES = [
    "yes",
    "no",
    "3",
    "0",
    "5m",
    '"/a b"',
    '"x',
    "",
    "192.0.2.1:80",
    "192.0.2.9",
    "7",
    "[2001:db8::1]:80",
    "198.51.100.1:80 masq",
    "198.51.100.1->198.51.100.4 gate 2",
    '198.51.100.2 ipip 3 "a", "b.c" l:1 u:9',
    "[2001:db8::2]:80 masq",
    "wlc",
    "tcp",
    "udp",
    "255.255.255.0",
    "external",
    "connect",
    "/bin/check",
    *sorted(SERVICES),
]
PLAIN = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)
line = st.one_of(
    st.builds(
        "{}{}={}{}".format,
        st.sampled_from(["", "\t", "    ", "  "]),
        st.sampled_from(KEYS),
        st.sampled_from(VALUES),
        st.sampled_from(["", " ", " # x", "\r"]),
    ),
    st.sampled_from(["", "# x", "\t# x", "    ", "\t", "     "]),
    PLAIN,
)
block = st.builds(
    lambda first, lines: "\n".join([first, *(f"\t{each}" for each in lines)]),
    st.sampled_from(["virtual=192.0.2.1:80", "virtual=192.0.2.2:143", "virtual=7", "virtual=192.0.2.3:53"]),
    st.lists(
        st.one_of(
            st.builds(
                "real=198.51.100.{}{} {}".format,
                st.integers(1, 9),
                st.sampled_from(["", ":80"]),
                st.sampled_from(["masq", "gate 3"]),
            ),
            st.builds("{}={}".format, st.sampled_from(sorted(VIRTUAL)), st.sampled_from(VALUES)),
        ),
        max_size=8,
    ),
)


@given(st.lists(st.one_of(line, block), max_size=25).map("\n".join))
def test_every_line_is_accounted_for(text: str) -> None:
    reading = read(text)
    assert reading.account.unmentioned() == ()
    assert bool(reading.text) is not reading.account.has_refused


@given(st.lists(block, max_size=3).map("\n".join))
def test_what_is_written_can_be_read(text: str) -> None:
    reading = read(text)
    if reading.text:
        config(reading)
