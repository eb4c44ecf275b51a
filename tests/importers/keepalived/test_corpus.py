"""Every file of the corpus means to us what the real keepalived understood, and each of its lines is accounted for."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from lvs_healthd.importers.account import Fate, Place, RefusedError
from lvs_healthd.importers.keepalived.reading import imported
from lvs_healthd.importers.source import source
from tests.importers.keepalived.corpus import (
    CORPUS,
    FILES,
    described,
    dumped_servers,
    expectation,
    expected_check,
    expected_services,
    read_file,
    services,
)

REFUSED = {
    "not-what-was-meant.conf": {2, 5, 7, 10, 12, 13, 16, 17, 19, 27, 30, 34, 37},
    "scripts.conf": {10, 20},
    "sorry-and-ports-left-out.conf": {7},
}
"""The lines for which a file is refused."""

SAME_SERVICE = {"the-same-twice.conf"}
"""Files with two virtual servers in one service, which the dump shows apart."""

MEANT_OTHERWISE = {"not-what-was-meant.conf"}
"""Files whose times are so short that no check of ours can have them."""

every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
every_other_file = pytest.mark.parametrize(
    "file", [file for file in FILES if file.name not in SAME_SERVICE | MEANT_OTHERWISE], ids=lambda file: file.stem
)


def test_the_corpus_is_there() -> None:
    assert len(FILES) >= 24
    assert all(file.with_suffix(".expected.json").exists() for file in FILES)


@every_file
def test_every_line_is_accounted_for(file: Path) -> None:
    assert read_file(file).account.unmentioned() == ()


@every_file
def test_services_and_servers_are_those_of_keepalived(file: Path) -> None:
    expected = expectation(file)
    found = services(read_file(file).config)
    wanted = expected_services(expected)
    is_dumped_only = any(
        "alpha is ON" in one["also"] or one["quorum_state_up"] == "0" for one in expected["virtual_servers"]
    )
    for key, service in wanted.items():
        mine = {name: value for name, value in found[key].items() if name != "sorry"}
        if is_dumped_only:
            mine.pop("servers")
            service.pop("servers")
        assert (key, mine) == (key, service)
    assert set(found) == set(wanted)


@every_other_file
def test_weights_and_methods_are_those_of_the_dump(file: Path) -> None:
    mine = {
        frozenset((address, weight, forward.upper()) for address, _port, weight, forward, *_more in service["servers"])
        for service in services(read_file(file).config).values()
    }
    assert mine == set(map(frozenset, dumped_servers(expectation(file)).values()))


@every_other_file
def test_checks_are_those_of_keepalived(file: Path) -> None:
    read = read_file(file)
    wanted: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for checker in expectation(file)["checkers"]:
        if not any("FILE_CHECK" in line for line in checker["settings"]):
            server = checker["of"].split(" -> ")[1].partition("]")[0].strip("[")
            wanted[server].append(expected_check(checker["settings"]))
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for service in read.config.services:
        for server in service.real_servers:
            for check in server.checks:
                description = described(check)
                is_new = description not in found[server.endpoint.address]
                if is_new and not _is_extra(description) and _written(read.unchecked, server.endpoint.address):
                    found[server.endpoint.address].append(description)
    for address in {*wanted, *found}:
        pairs = zip(_sorted(found[address]), _sorted(_unique(wanted[address])), strict=True)
        for mine, theirs in pairs:
            _adapt(mine, theirs)
            assert (address, mine) == (address, theirs)


def _unique(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for check in checks:
        if check not in kept:
            kept.append(check)
    return kept


def _sorted(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(checks, key=lambda check: (check["kind"], check["interval"], str(check.get("to")), check["retries"]))


def _is_extra(description: dict[str, Any]) -> bool:
    """Return whether a check is that of a FILE_CHECK, or of a program that keepalived did not find."""
    command = description.get("command", [""])
    return str(command[0]).endswith("/grep") or str(command[0]).startswith("/nonexistent")


def _written(unchecked: frozenset[str], address: str) -> bool:
    return not any(one.partition(":")[0] == address for one in unchecked)


def _adapt(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Take into account the bounds of our checks, which the import tells of."""
    if theirs["kind"] == "MISC_CHECK" and theirs["timeout"] == 0:
        theirs["timeout"] = mine["timeout"]
    elif theirs["kind"] == "MISC_CHECK":
        theirs["timeout"] *= 1_000_000
    if theirs.get("to", ("", 1))[1] == 0:
        theirs["to"] = mine["to"]  # the file is refused for it
    if theirs["kind"] == "UDP_CHECK" and not theirs["wants"]:
        theirs["timeout"] = max(theirs["timeout"], 4_000_000)
    theirs["interval"] = max(theirs["interval"], 50_000)
    if theirs["delay"] is not None:
        theirs["delay"] = max(min(theirs["delay"], theirs["interval"]), 50_000)


@every_file
def test_a_file_is_refused_with_its_lines_or_written(file: Path) -> None:
    account = read_file(file).account
    refused = {number for number in range(1, 200) if Fate.REFUSED in account.fates(Place(str(file), number))}
    assert refused == REFUSED.get(file.name, set())
    if refused:
        with pytest.raises(RefusedError):
            imported(source(str(file)))
    else:
        assert "[[service]]" in imported(source(str(file))).text


def test_lines_after_an_unknown_block_are_named_and_do_not_come_to_life() -> None:
    read = read_file(CORPUS / "unknown-block-swallows-the-rest.conf")
    name = str(CORPUS / "unknown-block-swallows-the-rest.conf")
    for number in range(18, 25):
        assert read.account.fates(Place(name, number)) == {Fate.IGNORED}
    addresses = Counter(server.endpoint.address for one in read.config.services for server in one.real_servers)
    assert "198.51.100.73" not in addresses


def test_lines_of_included_files_are_accounted_for() -> None:
    read = read_file(CORPUS / "includes-of-a-package.conf")
    folder = CORPUS / "includes-of-a-package.d"
    for file in folder.rglob("*.*"):
        if file.is_file():
            assert read.account.fates(Place(str(folder / file.relative_to(folder)), 1)), file


def test_vrrp_is_told_once_for_each_block() -> None:
    file = CORPUS / "vrrp-pair-with-web.conf"
    remarks = [line for line in imported(source(str(file))).remarks if "VRRP;" in line]
    assert [line.split(":")[1] for line in remarks] == ["18", "24", "31", "49"]
