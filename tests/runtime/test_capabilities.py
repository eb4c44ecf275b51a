"""Giving up capabilities, in processes of their own: there is no way back."""

import os
import re
import subprocess
import sys

import pytest

from lvs_healthd.runtime.capabilities import CAP_DAC_READ_SEARCH, has_capability

CODE = "from lvs_healthd.runtime.capabilities import give_up_capabilities as give_up; import os, pathlib;"


NONE = {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapAmb": 0}


def after(*statements: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", CODE + ";".join(statements)], capture_output=True, text=True, check=True, timeout=60
    )
    return ran.stdout


def sets(status: str) -> dict[str, int]:
    return {
        name: int(value, 16) for name, value in re.findall(r"^(Cap(?:Inh|Prm|Eff|Amb)):\t(\w+)", status, re.MULTILINE)
    }


needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not has_capability(CAP_DAC_READ_SEARCH), reason="has no capabilities to give up"
)


@needs_root
def test_nothing_is_left_but_what_is_kept() -> None:
    show = "print(pathlib.Path('/proc/self/status').read_text())"
    assert sets(after("give_up()", show)) == NONE
    bit = 1 << CAP_DAC_READ_SEARCH
    found = sets(after(f"give_up({CAP_DAC_READ_SEARCH})", show))
    assert found == {"CapInh": 0, "CapPrm": bit, "CapEff": bit, "CapAmb": 0}


@needs_root
def test_program_that_is_run_later_gains_none_although_the_user_is_root() -> None:
    found = after("give_up()", "os.execv('/bin/cat', ['cat', '/proc/self/status'])")
    assert sets(found) == NONE


@needs_root
def test_what_was_not_there_is_not_kept_and_is_no_error() -> None:
    found = after("give_up()", "give_up(2)", "print(pathlib.Path('/proc/self/status').read_text())")
    assert sets(found) == NONE
