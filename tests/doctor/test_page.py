"""docs/doctor.md names every finding, and nothing that is no finding, and the tests that it names exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_names_each_finding_once() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    room = ROOT / "src" / "lvs_healthd" / "doctor"
    named = {name for file in room.glob("*.py") for name in re.findall(r'\bname="([a-z-]+)"', file.read_text("utf-8"))}
    listed = re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(named)


def test_the_tests_that_show_the_answers_exist() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    assert len(named) > 14
    for file, name in named:
        text = (ROOT / "tests" / "kernel" / file).read_text(encoding="utf-8")
        assert f"def {name}(" in text, f"{file} has no {name}"
