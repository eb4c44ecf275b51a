"""Whatever stands in a keepalived.conf, the import ends, accounts for every line, and names what it refuses."""

from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lvs_healthd.importers.account import Account, Fate, Place
from lvs_healthd.importers.keepalived.carrying import parts
from lvs_healthd.importers.keepalived.files import lines_of
from lvs_healthd.importers.keepalived.grammar import ROOT, Form, Grammar
from lvs_healthd.importers.keepalived.reading import read
from lvs_healthd.importers.keepalived.told import Told
from lvs_healthd.importers.source import Source

NAME = "keepalived.conf"


def keywords(grammar: Grammar) -> set[str]:
    """Return the keywords of a grammar and of all blocks in it."""
    inner = [keywords(form) for form in grammar.values() if not isinstance(form, Form)]
    return set(grammar).union(*inner)


PLAIN = (
    "{ } 192.0.2.1 198.51.100.7 2001:db8::1 80 443 0 3 1.5 10s -1 TCP UDP NAT DR TUN wlc rr sh group fwmark WEB yes no"
)
ODD = (
    '"two_words" "open $A ${A} $B=c $A= \\ # ! @id @^id ~SEQ(I,1,3) ~LST(I,a,b) $I include nothing.inc /path /bin/true'
)
WORDS = st.sampled_from([*sorted(keywords(ROOT)), *PLAIN.split(" "), *ODD.split(" "), "200-299", "0" * 32])
LINE = st.lists(WORDS, max_size=5).map(" ".join)
TEXT = st.lists(LINE, max_size=30).map("\n".join)
BLOCK = st.lists(LINE, max_size=8).map(
    lambda lines: "\n".join(
        [
            "virtual_server 192.0.2.1 80 {",
            "protocol TCP",
            "real_server 198.51.100.1 80 {",
            *lines,
            "TCP_CHECK {",
            "}",
            "}",
            "}",
        ]
    )
)


def account_of(text: str) -> Account:
    """Import a text and return its account."""
    given_source = Source(NAME, text, Path("/nonexistent"))
    account = Account({NAME: lines_of(text)})
    parts(Told(account), read(given_source, account))
    return account


@settings(max_examples=600, deadline=None)
@given(st.one_of(TEXT, BLOCK))
def test_every_line_of_any_file_is_accounted_for(text: str) -> None:
    account = account_of(text)
    assert account.unmentioned() == ()
    places = (Place(NAME, number) for number in range(1, len(lines_of(text)) + 1))
    is_refused = any(Fate.REFUSED in account.fates(place) for place in places)
    assert is_refused == any(": refused: " in line for line in account.remarks())
    assert not (is_refused and account.is_lossless)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
@example("\r{")
@example("virtual_server_group a {\n\r{\n}")
def test_any_text_is_accounted_for(text: str) -> None:
    assert account_of(text).unmentioned() == ()
