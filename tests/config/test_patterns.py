"""Regular expressions mean what Python's mean, wherever both take them, and never take long."""

import re
import subprocess
import sys
import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.errors import WrongValueError
from lvs_healthd.config.patterns import MOST_STEPS, answer_pattern
from tests.config.reading import errors_of, read, service

ATOMS = st.sampled_from(
    [
        *("a", "b", "é", ".", r"\n", r"\x00", r"\xff", r"\.", r"\$", r"\d", r"\w", r"\W", "[ab]", "[^a]", "[$]"),
        *("[]a]", "[^]a]", r"[\]a]", r"[\x00-\x1f]", "(?:ab|c)", "(a|b)", r"\b", "(?i:A)", r"[\w-]"),
    ]
)
QUANTIFIERS = st.sampled_from(["", "", "", "*", "+", "?", "*?", "{2}", "{1,3}"])
PIECES = st.builds(str.__add__, ATOMS.filter(lambda atom: atom != r"\b"), QUANTIFIERS) | st.just(r"\b")
EXPRESSIONS = st.builds(
    lambda head, pieces, tail: head + "".join(pieces) + tail,
    st.sampled_from(["", "^", r"\A", "(?i)"]),
    st.lists(PIECES, min_size=1, max_size=5),
    st.sampled_from(["", "$", r"\Z"]),
)
ANSWERS = st.text("abcé.$A]-\n 1\x00", max_size=12).map(str.encode) | st.binary(max_size=8)


@given(EXPRESSIONS, ANSWERS)
def test_an_expression_means_what_it_means_to_python(text: str, answer: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = re.compile(text.encode(), re.DOTALL).search(answer) is not None
    assert answer_pattern(text).is_in(answer) is expected


@pytest.mark.parametrize(
    ("text", "answer", "found"),
    [
        (r"ready\Z", b"ready", True),
        (r"ready\Z", b"ready\n", False),
        ("ready$", b"ready\n", True),
        ("ready$", b"ready\nno", False),
        ("(?m)^ready$", b"not\nready\nyet", True),
        (r"\A220[ -]", b"220 mail", True),
        (r"\xff\x00", b"\x01\xff\x00", True),
        (".", b"\n", True),
        (r"[\\Z]", b"Z", True),
        (r"\\Z", b"\\Z", True),
        ("[$]", b"$", True),
        ("[[a]", b"[", True),
    ],
)
def test_what_the_documentation_promises(text: str, answer: bytes, found: bool) -> None:
    assert answer_pattern(text).is_in(answer) is found
    assert answer_pattern(text).is_in(bytearray(answer)) is found


@pytest.mark.parametrize(
    "text", ["(a+)+b", ".*.*.*x", "(a|aa)+b", "(?:a?){20}a{20}b", "(a|a)*b", "^(([a-z])+.)+[A-Z]$"]
)
def test_no_expression_takes_long_over_one_repeated_character(text: str) -> None:
    """A backtracking engine needs seconds to years for these; the bound is a hundred times what they take here."""
    pattern = answer_pattern(text)
    began = time.process_time()
    assert not pattern.is_in(b"a" * 65536)
    assert time.process_time() - began < 1.0


def test_an_expression_that_could_hold_up_all_probes_is_refused_with_the_size_that_fits() -> None:
    [error] = errors_of(service(check="{ type = 'tcp', expect_regex = 'a[ab]{500}c' }"))
    most = MOST_STEPS // answer_pattern("a[ab]{500}c").size
    assert error == (
        'c.toml:4: service "web": check.expect_regex: an answer of 65536 bytes could make this expression hold up all '
        f"probes; shorten the expression, or set max_answer to at most {most}"
    )
    fitting = f"{{ type = 'tcp', expect_regex = 'a[ab]{{500}}c', max_answer = {most} }}"
    assert read(service(check=fitting)).services


def test_a_wrong_expression_is_an_error_and_not_a_line_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WrongValueError, match="not a regular expression"):
        answer_pattern("(unfinished")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("expect", "is_loaded"), [("expect = 'ready'", False), ("expect_regex = 'read[iy]'", True)])
def test_the_engine_takes_memory_only_where_an_expression_is_configured(expect: str, is_loaded: bool) -> None:
    text = service(check=f"{{ type = 'tcp', {expect} }}")
    code = (
        "import sys, lvs_healthd.cli\n"
        "from lvs_healthd.config.load import parse\n"
        "from lvs_healthd.probes.targets import targets\n"
        f"targets(parse({text!r}, 'c.toml').services)\n"
        "print('re2' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{is_loaded}\n"
