"""Words, options, times and periods are read as mon's Perl modules read them."""

import pytest

from lvs_healthd.importers.mon.periods import PeriodError, When, when
from lvs_healthd.importers.mon.running import between_folders, folders, monitor_words
from lvs_healthd.importers.mon.words import Options, options, quoted_words, seconds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("a  b\tc", ("a", "b", "c")),
        ("\"a b\" 'c d' e\\ f", ("a b", "c d", "e f")),
        ("m'a\"b'\"c'd\"x", ("ma\"bc'dx",)),
        (r'"a \" b" \\ \n', ('a " b', "\\", "n")),
        (r"'a\b'", (r"a\b",)),
        ("\"\" ''", ("", "")),
        ("$HOME ~ *", ("$HOME", "~", "*")),
        ('a "b', None),
        ("don't", None),
        ("a\\", None),
    ],
)
def test_words(text: str, words: tuple[str, ...] | None) -> None:
    """The words were seen with `quotewords('\\s+', 0, …)` of Perl 5.36."""
    assert quoted_words(text) == words


def test_options_stop_at_the_first_word_and_may_be_joined() -> None:
    assert options(("-op80", "-t", "5", "-", "-u"), "p:t:o") == Options(
        {"o": "1", "p": "80", "t": "5"}, ("-", "-u"), ()
    )


def test_options_that_are_unknown_or_lack_their_value_are_named() -> None:
    assert options(("-xo", "--", "-p"), "p:o") == Options({"o": "1"}, ("-p",), ("-x",))
    assert options(("-p",), "p:").unknown == ("-p",)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10s", 10),
        ("1.5m", 90),
        ("2h", 7200),
        ("1D", 86400),
        ("0.0s", 0),
        *((each, None) for each in ("0s", "0m", "0.0m")),
    ]
    + [(each, None) for each in ("", "10", "5 s", "3x", ".5s", "-1s", "10s x")],
)
def test_times(text: str, found: float | None) -> None:
    assert seconds(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", When.ALWAYS),
        ("wd {Sun-Sat}", When.ALWAYS),
        ("wd{Mon-Sun}", When.ALWAYS),
        ("wday {sun mon tue wed thu fri sat}", When.ALWAYS),
        ("wd {1-7} hr {12am-11pm}", When.ALWAYS),
        ("wd {Mon-Fri}, wd {Sat-Sun}", When.ALWAYS),
        ("min {30-29}", When.ALWAYS),
        ("none", When.NEVER),
        ("wd {}", When.NEVER),
        ("wd {Sun-Fri}", When.SOMETIMES),
        ("wd {Sun-Sat} hr {9am - 5pm}", When.SOMETIMES),
        ("hr {6pm-6am}", When.SOMETIMES),
        ("wd {Mon-Fri} hr {9-17}, wd {Sat Sun}", When.SOMETIMES),
        ("yr {1999-2100} mo {Jan-Dec}", When.SOMETIMES),
    ],
)
def test_periods(text: str, found: When) -> None:
    assert when(text) is found


@pytest.mark.parametrize(
    "text",
    [
        "always",
        "wd",
        "wd {Mon-Fri",
        "xx {1}",
        "wd {Xyz}",
        "wd {8}",
        "hr {24}",
        "hr {13pm}",
        "hr {11noon}",
        "md {0}",
        "min {60}",
        "yr {100}",
    ],
)
def test_malformed_periods(text: str) -> None:
    """Time::Period 1.25 returns -1 for each."""
    with pytest.raises(PeriodError):
        when(text)


@pytest.mark.parametrize(
    ("text", "words", "has_hosts"),
    [
        ("x.monitor -p 80", ("x.monitor", "-p", "80"), True),
        ("x.monitor -p 80;;", ("x.monitor", "-p", "80"), False),
        ("x.monitor ;; ", ("x.monitor",), False),
        ("x.monitor ;; -p", ("x.monitor", ";;", "-p"), True),
    ],
)
def test_hosts_follow_a_monitor_unless_it_ends_in_semicolons(
    text: str, words: tuple[str, ...], *, has_hosts: bool
) -> None:
    assert monitor_words(text) == (words, has_hosts)


def test_folders_of_monitors_are_completed() -> None:
    assert folders({}) == ("/usr/local/lib/mon/mon.d", "/usr/lib/mon/mon.d")


@pytest.mark.parametrize(
    ("text", "between"), [("/a:/b", ""), ("/a", ""), ("/monitors:/b", "s:"), ("/a : /b", " : "), ("/a:s", ":s")]
)
def test_folders_that_mon_tears_apart_elsewhere_than_at_the_colon(text: str, between: str) -> None:
    assert between_folders(text) == between
