"""docs/logs.md matches the code: it names every event, field and level, and nothing else."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.events.kinds import EVENTS, Event

PAGE = (Path(__file__).parents[2] / "docs" / "logs.md").read_text(encoding="utf-8")
OWN_LINES = {
    "log.suppressed": ("warning", ["total", "counts", "most"]),
    "log.dropped": ("warning", ["lines"]),
    "log.unlabelled": ("warning", ["lines", "error"]),
    "library.message": ("error", ["logger", "message", "exception"]),
}


class Section(msgspec.Struct):
    level: str | None
    fields: list[str]
    example: str
    text: str


def sections() -> dict[str, Section]:
    found = {}
    for chunk in PAGE.split("\n### ")[1:]:
        name, text = chunk.split("\n", 1)
        level = re.search(r"^Level `(\w+)`\.", text, re.MULTILINE)
        example = re.search(r"^```json\n(.*)\n```$", text, re.MULTILINE)
        assert example is not None, f"{name} has no example"
        found[name] = Section(
            level=level and level[1],
            fields=re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE),
            example=example[1],
            text=text,
        )
    return found


def test_every_event_is_documented_and_no_other() -> None:
    assert set(sections()) == {event.name for event in EVENTS} | set(OWN_LINES)


def test_events_of_faults_end_in_error() -> None:
    names = {event.name for event in EVENTS}
    told = {event.name for event in EVENTS if "error" in event.__struct_fields__}
    assert told | {"worker.error", "exec.error"} == {name for name in names if name.endswith(".error")}
    # A check that is failing is a server's trouble and no fault of ours.
    assert {name for name in names if re.search("fail|fault|broken|exception", name)} == {"check.failing"}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_level_and_fields_are_the_code_s(event: type[Event]) -> None:
    section = sections()[event.name]
    assert section.level == event.level
    assert section.fields == list(event.__struct_fields__)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_example_is_a_real_line_of_that_event(event: type[Event]) -> None:
    line = json.loads(sections()[event.name].example)
    assert list(line) == ["timestamp", "level", "event", *event.__struct_fields__]
    assert (line.pop("event"), line.pop("level")) == (event.name, event.level)
    del line["timestamp"]
    msgspec.convert(line, event)  # every value has the field's type


@pytest.mark.parametrize("name", OWN_LINES)
def test_the_log_s_own_lines_are_documented(name: str) -> None:
    level, fields = OWN_LINES[name]
    section = sections()[name]
    assert section.level in (level, None)
    assert section.fields == fields
    line = json.loads(section.example)
    assert list(line) == ["timestamp", "level", "event", *fields]
    assert (line["event"], line["level"]) == (name, level)


@pytest.mark.parametrize("name", sections())
def test_each_event_says_what_to_do_and_durations_name_their_unit(name: str) -> None:
    section = sections()[name]
    assert "\nTo do: " in section.text
    for field in section.fields:
        if field.endswith("_s"):
            assert f"| `{field}` | seconds |" in section.text
