"""What becomes of the lines of a file that is imported, and how services are written with their lines."""

import pytest
import tomli

from lvs_healthd.importers.account import Account, Fate, Place, RefusedError
from lvs_healthd.importers.draft import Part, ranges, written

LINES = ("hostgroup web 198.51.100.11", "", "watch web", "    depend db:sql")


@pytest.fixture
def account() -> Account:
    return Account({"mon.cf": LINES})


def test_lines_without_an_entry_are_named(account: Account) -> None:
    account.carried(Place("mon.cf", 1))
    account.empty(Place("mon.cf", 2))
    assert account.unmentioned() == (Place("mon.cf", 3), Place("mon.cf", 4))


def test_remarks_come_in_the_order_of_lines_and_name_them(account: Account) -> None:
    account.dropped(Place("mon.cf", 4), "no dependencies; see docs/migrate.md")
    account.ignored(Place("mon.cf", 3), "after a blank line")
    account.noted(Place("mon.cf", 1), "one server")
    account.carried(Place("mon.cf", 1))
    assert account.remarks() == (
        "mon.cf:1: one server",
        "mon.cf:3: ignored, as by the program: after a blank line",
        "mon.cf:4: not carried over: no dependencies; see docs/migrate.md",
    )
    assert account.fates(Place("mon.cf", 1)) == {Fate.CARRIED}


def test_what_the_program_ignores_too_is_no_loss(account: Account) -> None:
    account.ignored(Place("mon.cf", 3), "after a blank line")
    assert account.is_lossless
    account.dropped(Place("mon.cf", 4), "no dependencies")
    assert not account.is_lossless


def test_loss_that_is_told_at_another_line_is_a_loss_without_a_remark(account: Account) -> None:
    account.dropped(Place("mon.cf", 4), "")
    assert account.remarks() == ()
    assert not account.is_lossless
    assert account.fates(Place("mon.cf", 4)) == {Fate.DROPPED}


def test_what_a_line_holds_cannot_move_the_cursor_of_who_reads_of_it(account: Account) -> None:
    account.noted(Place("mon.cf", 1), "host \x1b[2Jweb")
    assert account.remarks() == ("mon.cf:1: host \\x1b[2Jweb",)


def test_every_refused_line_is_in_the_error(account: Account) -> None:
    account.check()
    account.refused(Place("mon.cf", 3), "no such group")
    account.refused(Place("mon.cf", 4), "no such key")
    with pytest.raises(RefusedError) as error:
        account.check()
    assert error.value.errors == ("mon.cf:3: refused: no such group", "mon.cf:4: refused: no such key")


def test_lines_of_an_included_file_count(account: Account) -> None:
    account.add_file("more.cf", ["watch db"])
    assert Place("more.cf", 1) in account.unmentioned()


def test_configuration_names_the_lines_of_each_service() -> None:
    places = [Place("a.cf", number) for number in (3, 4, 5, 9)]
    service = Part("service", {"address": "192.0.2.1:80"}, places, comments=["two\nlines"])
    text = written([service], "a.cf", "mon", {"daemon": {"control": "/run/x"}})
    assert "# from a.cf, lines 3-5 and 9\n# two\n# lines\n[[service]]\n" in text
    assert tomli.loads(text) == {"daemon": {"control": "/run/x"}, "service": [{"address": "192.0.2.1:80"}]}


def test_ranges_of_several_files() -> None:
    assert ranges([Place("b.cf", 2), Place("a.cf", 7), Place("b.cf", 2)]) == "a.cf, line 7; b.cf, line 2"
