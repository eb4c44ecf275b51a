"""`include`: one configuration of several files, and errors that name the right one."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from lvs_healthd.cli.asking import find_daemon
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import load
from lvs_healthd.config.parts import MOST_DEEP
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.doctor import bundle


def web(name: str, number: int, keys: str = "") -> str:
    return (
        f'[[service]]\nname = "{name}"\naddress = "192.0.2.{number}:80"\ncheck = "tcp"\n'
        f'real_server = ["198.51.100.11"]\n{keys}\n'
    )


class Folder:
    """A folder with a configuration, whose main file is a.toml."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.memory = LastReading()

    def write(self, **files: str) -> "Folder":
        """Write files; "conf__b" is conf/b.toml."""
        for name, text in files.items():
            file = self.path / f"{name.replace('__', '/')}.toml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        return self

    def names(self, memory: LastReading | None = None) -> list[str]:
        return [service.name for service in load(self.path / "a.toml", memory).services]

    def errors(self) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(self.path / "a.toml")
        return [error.replace(f"{self.path}/", "") for error in caught.value.errors]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_files_are_read_in_the_order_of_their_names_and_hidden_ones_are_not(folder: Folder) -> None:
    folder.write(a='include = "conf/*.toml"\n' + web("a", 1), conf__c=web("c", 3), conf__b=web("b", 2))
    (folder.path / "conf/.hidden.toml").write_text("nonsense")
    (folder.path / "conf/b.toml~").write_text("nonsense")
    assert folder.names() == ["a", "b", "c"]


def test_paths_are_relative_to_the_file_that_includes_and_may_be_absolute(folder: Folder, tmp_path: Path) -> None:
    folder.write(a=f'include = ["conf/b.toml", "{tmp_path}/d.toml"]', conf__b='include = "c.toml"\n' + web("b", 2))
    folder.write(conf__c=web("c", 3), d=web("d", 4))
    assert folder.names() == ["b", "c", "d"]


def test_file_named_twice_is_read_once(folder: Folder) -> None:
    folder.write(a='include = ["conf/b.toml", "conf/*.toml"]', conf__b=web("b", 2), conf__c=web("c", 3))
    assert folder.names() == ["b", "c"]


def test_tables_are_added_up_and_what_one_file_names_another_uses(folder: Folder) -> None:
    folder.write(
        a='include = "conf/*.toml"\n[daemon]\nresync = "5s"\n[ipvs.sysctl]\nconntrack = true\n'
        "[defaults.check]\nfall = 5\n",
        conf__b="[daemon]\nhistory = 7\n[ipvs.sysctl]\ndrop_entry = 1\n"
        '[defaults.check]\nrise = 4\n[check.app]\ntype = "http"\n',
        conf__c='[pool.p]\nreal_server = ["198.51.100.1"]\n[defaults.service]\nscheduler = "rr"\n',
        conf__d='[[service]]\naddress = "192.0.2.9:80"\ncheck = "app"\npool = "p"\n',
    )
    config = load(folder.path / "a.toml")
    assert (config.daemon.resync, config.daemon.history) == (5.0, 7)
    assert dict(config.ipvs.sysctl).keys() == {"conntrack", "drop_entry"}
    (check,) = config.services[0].real_servers[0].checks
    assert (check.name, check.fall, check.rise, config.services[0].scheduler) == ("app", 5, 4, "rr")


def test_errors_of_all_files_name_file_line_and_key(folder: Folder) -> None:
    folder.write(
        a='include = "conf/*.toml"\n[daemon]\nlistn = ""\n' + web("a", 1, "min_up = 9"),
        conf__b='[daemon]\nresync = "0s"\n' + web("b", 2) + web("", 3).replace('name = ""\n', "") + 'mode = "x"\n',
        conf__c="[[service]]\nreal_server = []\n\n[defaults.check]\nfall = 0\n",
    )
    assert folder.errors() == [
        'a.toml:3: daemon.listn: unknown key; did you mean "listen"?',
        'a.toml:9: service "a": min_up: more than the service has real servers, 1; write that or less, or add servers',
        'conf/b.toml:2: daemon.resync: expected a duration from 1s to 1h, got "0s"',
        'conf/b.toml:14: service "192.0.2.3:80/tcp": mode: expected enforce or shadow, got "x"',
        'conf/c.toml:1: service[0]: address is missing: "192.0.2.100:80", or a firewall mark: fwmark = 7',
        'conf/c.toml:1: service[0]: no check; the simplest is check = { type = "tcp" }',
        "conf/c.toml:2: service[0]: real_server: the list is empty: a service needs at least one",
        "conf/c.toml:5: defaults.check.fall: expected 1..1000, got 0",
    ]


def test_what_two_files_set_is_an_error_that_names_both(folder: Folder) -> None:
    pool = '[pool.p]\nreal_server = ["198.51.100.1"]\n'
    folder.write(
        a='include = "conf/*.toml"\n[daemon]\nresync = "5s"\n' + pool + web("a", 1),
        conf__b='[daemon]\nresync = "6s"\n' + pool + web("a", 2),
        conf__c=web("c", 1),
    )
    assert folder.errors() == [
        "conf/b.toml:2: daemon.resync: already set in a.toml:3; keep one of them",
        "conf/b.toml:3: pool.p: already set in a.toml:4; keep one of them",
        (
            'conf/b.toml:6: service "a": name: the service on line 6 of a.toml is called "a" too; '
            "give one of them another name"
        ),
        (
            'conf/c.toml:3: service "c": address: 192.0.2.1:80/tcp is already service "a", on line 6 of a.toml; '
            "keep one of them"
        ),
    ]


def test_remark_names_the_file_also_after_a_reload(folder: Folder) -> None:
    folder.write(a='include = "b.toml"', b="\n" + web("b", 2).replace('"tcp"', '{ type = "tcp", timeout = "3s" }'))
    for _ in range(2):
        (remark,) = load(folder.path / "a.toml", folder.memory).remarks
        assert remark.startswith(f'{folder.path}/b.toml:5: service "b": check.timeout: timeout 3s')


def test_secret_in_an_included_file_that_everybody_may_read(folder: Folder) -> None:
    folder.write(a='include = "b.toml"\n' + web("a", 1))
    secret = '{ type = "http", headers = { Authorization = "Basic c2VjcmV0" } }'
    folder.write(b=web("b", 2).replace('"tcp"', secret))
    (folder.path / "b.toml").chmod(0o644)
    (remark,) = load(folder.path / "a.toml").remarks
    assert remark.startswith(f'{folder.path}/b.toml:4: service "b": check.headers.Authorization: everybody on this')
    assert remark.endswith(f"chmod o-r {folder.path}/b.toml")
    assert "Basic c2VjcmV0" in [*bundle._secrets(folder.path / "a.toml")]


@pytest.mark.parametrize(
    ("files", "errors"),
    [
        ({"a": 'include = "b.toml"'}, ["a.toml:1: include: b.toml: cannot be read: No such file or directory"]),
        (
            {"a": 'include = [\n"b.toml",\n"c/*.toml"]', "b": ""},
            ["a.toml:3: include[1]: c: the folder cannot be read: No such file or directory"],
        ),
        (
            {"a": 'include = "*/b.toml"'},
            ["a.toml:1: include: *, ? and [ are for the last part of the path"],
        ),
        ({"a": "include = 5"}, ['a.toml:1: include: expected a file, or a list such as ["conf.d/*.toml"], got 5']),
        ({"a": 'include = "a.toml"'}, ["a.toml:1: include: these files include each other for ever: a.toml > a.toml"]),
        (
            {"a": 'include = "b.toml"', "b": '\ninclude = "c.toml"', "c": 'include = "*.toml"'},
            [
                "c.toml:1: include: these files include each other for ever: a.toml > b.toml > c.toml > a.toml",
                "c.toml:1: include: these files include each other for ever: b.toml > c.toml > b.toml",
                "c.toml:1: include: these files include each other for ever: c.toml > c.toml",
            ],
        ),
        ({"a": 'include = ["b.toml", "c.toml"]', "b": "x = y", "c": "\nz"}, ["b.toml:1: ", "c.toml:2: "]),
        (
            {"a": '[daemon]\ninclude = "b.toml"'},
            ["a.toml:2: daemon.include: a key of the file itself, and in TOML it belongs to the table above it"],
        ),
    ],
)
def test_include_that_cannot_be(folder: Folder, files: dict[str, str], errors: list[str]) -> None:
    folder.write(**files)
    found = folder.errors()
    assert len(found) == len(errors)
    assert all(each.startswith(start) for each, start in zip(found, errors, strict=True)), found


def test_files_in_a_row_are_bounded(folder: Folder) -> None:
    names = [chr(ord("a") + number) for number in range(MOST_DEEP + 2)]
    folder.write(**{name: f'include = "{follows}.toml"' for name, follows in itertools.pairwise(names)})
    folder.write(**{names[-1]: web("last", 1)})
    (error,) = folder.errors()
    assert (
        error
        == f"{names[-2]}.toml:1: include: {names[-1]}.toml: more than {MOST_DEEP} files include each other in a row"
    )


def test_reload_sees_new_and_removed_files_and_keeps_what_has_not_changed(folder: Folder) -> None:
    folder.write(a='include = "conf/*.toml"\n' + web("a", 1), conf__c=web("c", 3))
    main = folder.path / "a.toml"
    first = load(main, folder.memory).services
    folder.write(conf__b=web("b", 2))
    second = load(main, folder.memory).services
    assert [service.name for service in second] == ["a", "b", "c"]
    assert (second[0] is first[0], second[2] is first[1]) == (True, True)
    (folder.path / "conf/c.toml").unlink()
    assert folder.names(folder.memory) == ["a", "b"]


def test_verbs_find_the_daemon_of_an_included_file(folder: Folder) -> None:
    folder.write(a='include = "b.toml"', b='[daemon]\ncontrol = "/run/b.sock"\n')
    found: Any = find_daemon(folder.path / "a.toml", explicit=True)
    assert (found.control, found.remark) == ("/run/b.sock", "")
