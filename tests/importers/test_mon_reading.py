"""A mon.cf is understood as mon itself understands it."""

import json
from typing import Any

import pytest

from lvs_healthd.importers.account import Fate, Place
from tests.importers.mon_understanding import CORPUS, files, plain, reading, understood


def expected(name: str) -> dict[str, Any]:
    """Return what mon has understood of a file."""
    found: dict[str, Any] = json.loads((CORPUS / f"{name}.expected.json").read_text())
    return found


@pytest.mark.parametrize("name", files())
def test_file_is_understood_as_by_mon(name: str) -> None:
    wanted = expected(name)
    configuration, account = reading((CORPUS / f"{name}.cf").read_text())
    refused = [number for number in range(1, 200) if Fate.REFUSED in account.fates(Place("mon.cf", number))]
    if wanted["accepted"]:
        assert not refused
        found = understood(configuration)
        assert plain(found["groups"]) == plain(wanted["groups"])
        assert plain(found["watch"]) == plain(wanted["watch"])
        assert plain(found["globals"]) == plain(wanted["globals"])
        assert found["folders"] == wanted.get("folders", found["folders"])
    else:
        assert [f"line {number}" for number in refused] == [wanted["message"].rpartition(", ")[2]]
        assert account.unmentioned() == ()
