"""`lvs-healthd flush` on a table in memory; tests/kernel runs it on the kernel's table."""

import contextlib
import errno
from collections.abc import Iterable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lvs_healthd.cli import flush as module
from lvs_healthd.director.announced import Place
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.records import Verb
from lvs_healthd.runtime.lock import AlreadyRunningError
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.state.file import (
    Lease,
    Ours,
    SavedDrain,
    SavedPlace,
    SavedVerdict,
    SharedService,
    read_state,
    write_state,
)
from tests.ipvs.tables import DNS, MARK, WEB, copy, entry, server, service, table

TABLE = table(
    entry(service(WEB), server("198.51.100.1"), server("198.51.100.2")),
    entry(service(DNS), server("2001:db8::1")),
    entry(service(MARK), server("198.51.100.3")),
)
VERDICT = SavedVerdict(service="a", server="b", check="c", verdict="up", detail="", since=1.0)


class Site:
    """A state file that owns WEB and DNS, and a table that also holds MARK."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.memory = MemoryTable()
        self.memory.entries = copy(TABLE)
        self.state = folder / "state.json"
        self.config = folder / "config.toml"
        self.config.write_text(f'[daemon]\nstate = "{self.state}"\n')
        write_state(self.state, Ours(frozenset({WEB, DNS})), [VERDICT])
        monkeypatch.setattr(module, "IpvsClient", lambda **_: self.memory)
        monkeypatch.setattr(module, "lock_table", contextlib.nullcontext)
        self.has_rules = False
        monkeypatch.setattr(module, "remove_rules", lambda _: self.has_rules)
        self._app = typer.Typer()
        self._app.command()(module.flush)

    def flush(self, *arguments: str, answer: str | None = None) -> tuple[int, str, str]:
        result = CliRunner().invoke(self._app, ["--config", str(self.config), *arguments], input=answer)
        return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_ours_are_deleted_and_theirs_are_not(site: Site) -> None:
    code, out, _ = site.flush("--yes")
    assert code == 0
    assert out == "192.0.2.100:80/tcp: 2 servers\n[2001:db8::53]:53/udp: 1 server\n2 services deleted\n"
    assert site.memory.entries == table(entry(service(MARK), server("198.51.100.3")))
    saved = read_state(site.state)
    assert (saved.owned, saved.verdicts) == ((), (VERDICT,))


def test_addresses_are_taken_off_before_anything_is_deleted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients go to another director while this one still serves them."""
    places = (SavedPlace("lvs0", "192.0.2.100"), SavedPlace("lvs0", "2001:db8::53"))
    write_state(site.state, Ours(frozenset({WEB, DNS}), announced=places), [VERDICT])
    taken = []

    def write(_: Netns, add: Iterable[Place], delete: Iterable[Place]) -> dict[Place, str]:
        assert not [*add]
        taken.append(([*delete], copy(site.memory.entries) == TABLE))
        return {Place("lvs0", "2001:db8::53"): "not permitted"}

    monkeypatch.setattr(module, "write", write)
    code, out, err = site.flush("--yes")
    assert taken == [([Place(*each) for each in (("lvs0", "192.0.2.100"), ("lvs0", "2001:db8::53"))], True)]
    assert (code, "not permitted" in err) == (1, True)
    assert out.startswith("192.0.2.100 on lvs0, from which BGP announces it\n2001:db8::53 on lvs0, from which BGP")
    assert read_state(site.state).announced == places[1:], "what is still there is still ours"
    assert WEB not in site.memory.entries


def test_ports_of_path_probes_stay_reserved(site: Site) -> None:
    """The kernel remembers for some minutes where their datagrams went."""
    marks, ports = (Lease("tcp/ipv4 198.51.100.11 dr", 65536),), (Lease("udp/ipv4 198.51.100.11 dr 1", 16384),)
    write_state(site.state, Ours(frozenset({WEB, DNS}), path_marks=marks, path_ports=ports), [VERDICT])
    assert site.flush("--yes")[0] == 0
    saved = read_state(site.state)
    assert (saved.path_marks, saved.path_ports) == (marks, ports)


def test_what_the_maintenance_folder_drained_is_kept(site: Site) -> None:
    drained = (SavedDrain(path="/m/198.51.100.11", since=1.0, addresses=("198.51.100.11",)),)
    write_state(site.state, Ours(frozenset({WEB, DNS}), maintenance=drained), [VERDICT])
    assert site.flush("--yes")[0] == 0
    assert read_state(site.state).maintenance == drained


def test_what_is_gone_already_is_no_error(site: Site) -> None:
    del site.memory.entries[DNS]
    assert site.flush("--yes")[1].endswith("\n1 service deleted\n")
    assert site.flush("--yes")[:2] == (0, "nothing of ours is in the table\n")


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_it_asks(site: Site, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    monkeypatch.setattr(module, "_is_somebody_there", lambda: True)
    assert site.flush(answer=answer)[0] == code
    assert (WEB in site.memory.entries) is (code != 0)


def test_without_anybody_to_ask_nothing_is_deleted(site: Site) -> None:
    code, _, err = site.flush()
    assert (code, err) == (2, "lvs-healthd flush: nobody to ask: use --yes to delete these\n")
    assert site.memory.entries == TABLE


def test_what_the_kernel_refuses_stays_ours(site: Site) -> None:
    site.memory.fail_next(Verb.DELETE_SERVICE, errno.EPERM)
    code, out, err = site.flush("--yes")
    assert (code, out.splitlines()[-1]) == (1, "1 service deleted")
    assert err.startswith("lvs-healthd flush: 192.0.2.100:80/tcp: ")
    assert read_state(site.state).owned == (WEB,)


def test_service_with_servers_of_somebody_elses_stays_with_those(site: Site) -> None:
    (one, two), theirs = (server("198.51.100.1"), server("198.51.100.2")), server("198.51.100.77")
    site.memory.entries = table(entry(service(WEB), one, theirs, two), entry(service(DNS), server("2001:db8::1")))
    shared = (SharedService(WEB, (one.key, two.key)), SharedService(DNS, (server("2001:db8::1").key,)))
    write_state(site.state, Ours(frozenset({WEB, DNS}), shared), [VERDICT])
    site.memory.fail_next(Verb.DELETE_SERVER, errno.EPERM)
    code, out, err = site.flush("--yes")
    assert code == 1
    assert out.splitlines() == [
        "192.0.2.100:80/tcp: 2 servers; it stays, with 1 of somebody else's",
        "[2001:db8::53]:53/udp: 1 server",
        "1 service deleted",
    ]
    assert err.startswith("lvs-healthd flush: 192.0.2.100:80/tcp 198.51.100.1:80: ")
    saved = read_state(site.state)
    assert (saved.owned, saved.shared) == ((WEB,), (SharedService(WEB, (one.key,)),))
    assert site.flush("--yes")[:2] == (
        0,
        "192.0.2.100:80/tcp: 1 server; it stays, with 1 of somebody else's\n0 services deleted\n",
    )
    assert site.memory.entries == table(entry(service(WEB), theirs))
    saved = read_state(site.state)
    assert (saved.owned, saved.shared) == ((), ())
    assert site.flush("--yes")[:2] == (0, "nothing of ours is in the table\n")


def test_running_daemon_is_not_flushed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(_: Netns) -> None:
        raise AlreadyRunningError("another lvs-healthd (pid 7, user 0) already manages the IPVS table; stop it first")

    monkeypatch.setattr(module, "lock_table", locked)
    code, _, err = site.flush("--yes")
    assert code == 1
    assert err.endswith("(pid 7, user 0) already manages the IPVS table; stop it first: systemctl stop lvs-healthd\n")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, "No such file or directory"),
        ("[daemon", ":1:8: Expected"),
        ("[daemon]\nstate = 7", "daemon.state is not a string"),
    ],
)
def test_without_a_configuration_nothing_is_guessed(site: Site, text: str | None, error: str) -> None:
    site.config.unlink()
    if text is not None:
        site.config.write_text(text)
    code, _, err = site.flush("--yes")
    assert code == 1
    assert err.startswith(f"lvs-healthd flush: {site.config}:")
    assert error in err
    assert site.memory.entries == TABLE


def test_broken_state_file_is_left_where_it_is(site: Site) -> None:
    site.state.write_text("{")
    code, _, err = site.flush("--yes")
    assert code == 1
    assert "not a state file" in err
    assert site.state.exists()


def test_rules_of_fullnat_and_synproxy_go_too(site: Site) -> None:
    site.has_rules = True
    _, out, _ = site.flush("--yes")
    assert out.endswith("nftables table lvs_healthd deleted\n")


def test_table_in_memory_holds_nothing_to_flush(site: Site) -> None:
    code, out, err = site.flush("--table", "memory", "--yes")
    assert (code, err) == (0, "")
    assert out == "nothing of ours is in the table: one in memory ends with its daemon\n"
    assert site.memory.entries == TABLE
