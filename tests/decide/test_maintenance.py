"""What a file's name in the maintenance folder means, and which servers the files drain."""

import pytest

from lvs_healthd.decide.maintenance import (
    MOST_SHOWN,
    NO_NAME,
    Folder,
    Maintenance,
    MaintenanceFile,
    Name,
    Resolved,
    counts,
    meaning,
    new_file,
    restored,
    with_addresses,
)
from lvs_healthd.ipvs.records import DestinationKey
from lvs_healthd.ipvs.words import AF_INET, AF_INET6

A = DestinationKey(AF_INET, "198.51.100.11", 80)
A81 = DestinationKey(AF_INET, "198.51.100.11", 81)
SIX = DestinationKey(AF_INET6, "2001:db8::1", 80)


def folder(*names: str) -> Folder:
    return Folder({f"/m/{name}": new_file(f"/m/{name}", name, 60.0, 100.0) for name in names})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("198.51.100.11", Name("198.51.100.11")),
        ("198.51.100.11:80", Name("198.51.100.11", port=80)),
        ("[2001:db8::1]:80", Name("2001:db8::1", port=80)),
        ("2001:DB8:0::1", Name("2001:db8::1")),
        ("[2001:db8::1]", Name("2001:db8::1")),
        ("2001:db8::1:80", Name("2001:db8::1:80")),
        ("db1.Example.org", Name(host="db1.example.org")),
        ("db1.example.org.:443", Name(host="db1.example.org.", port=443)),
        ("db_1:65535", Name(host="db_1", port=65535)),
    ],
)
def test_name_of_a_file_means_an_address_or_a_host(name: str, meant: Name) -> None:
    assert meaning(name) == meant


@pytest.mark.parametrize(
    "name",
    [
        *("198.51.100.11:0", "198.51.100.11:65536", "198.51.100.11:", "198.51.100.11:http", "198.51.100.11:٣"),
        *("[198.51.100.11]:80", "[2001:db8::1]x", "[2001:db8::1]:", "[db1]:80", "2001:db8::g", "fe80::1%eth0", "[]"),
        *("10.1", "0x7f000001", "300.1.1.1", "web server", "a..b", "-a", "x" * 64, ".".join(["a" * 60] * 5), "dön", ""),
        *("4913", "a\nb", "db1\n", "\udc80", ":80", "198.51.100.11\n"),
    ],
)
def test_other_names_mean_nothing(name: str) -> None:
    assert meaning(name) is None
    assert new_file(f"/m/{name}", name, 1.0, 2.0).problem == NO_NAME


@pytest.mark.parametrize("name", [".hidden", ".198.51.100.11.swp", "a~", "a.swp", "a.swo", "a.swx", "#a#"])
def test_hidden_files_and_leftovers_of_editors_do_not_count(name: str) -> None:
    assert not counts(name)
    assert counts("198.51.100.11")


def test_address_means_all_ports_and_a_port_only_its_own() -> None:
    alone, with_port = folder("198.51.100.11"), folder("198.51.100.11:80")
    assert [bool(alone.of(each)) for each in (A, A81, SIX)] == [True, True, False]
    assert [bool(with_port.of(each)) for each in (A, A81, SIX)] == [True, False, False]
    assert folder("[2001:db8::1]:80").of(SIX)
    assert not Folder({}).of(A)


def test_host_that_cannot_be_resolved_any_more_goes_on_draining_what_it_meant() -> None:
    file = new_file("/m/db1:80", "db1:80", 60.0, 100.0)
    assert (file.addresses, file.problem) == ((), "its name has not been looked up yet")
    assert with_addresses(file, None) is file
    file = with_addresses(file, Resolved(("198.51.100.11", "2001:db8::1")))
    assert (file.places, file.problem) == (("198.51.100.11:80", "[2001:db8::1]:80"), "")
    assert with_addresses(file, Resolved(("198.51.100.11", "2001:db8::1"))) is file
    lost = with_addresses(file, Resolved(problem="no answer"))
    assert lost.addresses == file.addresses
    assert lost.problem == "no answer; it goes on draining 198.51.100.11, 2001:db8::1, which the name meant before"
    assert with_addresses(lost, Resolved(problem="no answer")) is lost
    moved = with_addresses(lost, Resolved(("198.51.100.12",)))
    assert (moved.addresses, moved.problem) == (("198.51.100.12",), "")


def test_what_has_changed_is_known_by_its_addresses() -> None:
    before = folder("198.51.100.11", "198.51.100.12")
    same = before.files["/m/198.51.100.11"]
    after = Folder({same.path: same, **folder("198.51.100.13:80").files})
    assert after.touched(before) == {"198.51.100.12", "198.51.100.13"}
    assert before.touched(before) == frozenset()


def test_words_name_every_file_and_since_when() -> None:
    maintenance = Maintenance()
    assert (maintenance.in_words(A), maintenance.still_drained(A), maintenance.drain_of(A)) == ("", "", None)
    maintenance.folder = folder("198.51.100.11", "198.51.100.11:80")
    assert maintenance.in_words(A81) == "drained by the file /m/198.51.100.11 since 1970-01-01 00:01 UTC"
    assert maintenance.in_words(A) == (
        "drained by the files /m/198.51.100.11 since 1970-01-01 00:01 UTC and /m/198.51.100.11:80 since 1970-01-01 "
        "00:01 UTC"
    )
    assert maintenance.still_drained(A81) == (
        "198.51.100.11:81 is still drained by the file /m/198.51.100.11: remove that file to end that"
    )
    maintenance.error = "/m hangs"
    assert maintenance.still_drained(A) == (
        "198.51.100.11:80 is still drained by the files /m/198.51.100.11 and /m/198.51.100.11:80: remove those files "
        "to end that (the folder cannot be read now: /m hangs)"
    )
    drain = maintenance.drain_of(A)
    assert drain is not None
    assert (drain.since, drain.deadline) == (100.0, None)


def test_what_is_saved_comes_back_with_times_that_can_be() -> None:
    before = folder("198.51.100.11", "[2001:db8::1]:80", "unresolved")
    after = restored(before.saved, 500.0)
    assert list(after.files) == ["/m/198.51.100.11", "/m/[2001:db8::1]:80"]
    assert [after.of(each) != [] for each in (A, SIX)] == [True, True]
    assert after.saved == before.saved
    (odd,) = Folder({"/m/x": MaintenanceFile(path="/m/x", since=1e300, seen=1.0, addresses=("198.51.100.11",))}).saved
    assert restored([odd], 500.0).files["/m/x"].since == 500.0


def test_complaints_are_as_many_as_fit() -> None:
    maintenance = Maintenance()
    assert not maintenance.complaints
    maintenance.unused = {f"/m/{number}": "odd" for number in range(MOST_SHOWN)}
    assert maintenance.complaints[-1] == f"/m/{MOST_SHOWN - 1}: odd"
    maintenance.unused["/m/more"] = "odd"
    assert maintenance.complaints[-1] == "and 1 more: lvs-healthd status --overrides"
