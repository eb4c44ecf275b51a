"""A message about an unknown key does not list forty others, but says where they are."""

import pytest

from lvs_healthd.config.reference import tables
from lvs_healthd.config.sections import MOST_LISTED
from tests.config.reading import errors_of, service

UNLIKE = "zzzzz = 1\n"


@pytest.mark.parametrize(
    ("text", "section"),
    [
        (f"[daemon]\n{UNLIKE}", "[daemon]"),
        (service(UNLIKE), "[[service]]"),
        (f"[defaults.service]\n{UNLIKE}", "[[service]]"),
        (f"[defaults.check]\n{UNLIKE}", "[service.check]"),
        (f'[check.own]\ntype = "tcp"\n{UNLIKE}', "[service.check]"),
        (service(check='{ type = "tcp", zzzzz = 1 }'), "[service.check]"),
        (service(check='{ type = "http", requests = [{ zzzzz = 1 }] }'), "[service.check]"),
        (service(servers='[{ address = "198.51.100.11", check = { zzzzz = 1 } }]'), "[service.check]"),
        (f"[ipvs.sysctl]\n{UNLIKE}", "[ipvs.sysctl]"),
        (f'[[hook]]\non = ["down"]\ncommand = ["/bin/true"]\n{UNLIKE}', "[[hook]]"),
    ],
)  # fmt: skip
def test_section_has_the_keys_that_the_message_does_not_list(text: str, section: str) -> None:
    (told,) = [error for error in errors_of(text) if "zzzzz" in error]
    assert told.endswith(f"zzzzz: unknown key; those of {section} are in lvs-healthd.toml(5)")
    (table,) = [table for header, table in dict(tables()).items() if header == section]
    assert len(table.keys) > MOST_LISTED


def test_few_keys_are_listed() -> None:
    (told,) = errors_of(f"[brake]\n{UNLIKE}")
    assert told.endswith("zzzzz: unknown key; known here: share, within, min_targets, longest")
