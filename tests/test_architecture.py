"""The picture in docs/architecture.md is true: it names all rooms, and imports only go down."""

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "lvs_healthd"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LOOSE = {"__init__.py", "py.typed"}


def levels() -> list[list[str]]:
    """Return the rooms in each line of the picture, from top to bottom."""
    picture = re.search(r"```\n(.*?)```", PAGE, re.DOTALL)
    assert picture is not None
    width = picture[1].index("one small file")
    return [line[:width].split() for line in picture[1].splitlines()]


def rooms() -> set[str]:
    return {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}


def imports(file: Path) -> Iterator[str]:
    """Yield the full name of everything of ours that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (
                f"{node.module}.{each.name}" for each in node.names if str(node.module).startswith("lvs_healthd")
            )
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.startswith("lvs_healthd"))


def test_the_picture_names_every_room_once() -> None:
    named = [room for level in levels() for room in level]
    assert sorted(named) == sorted(rooms())


def test_nothing_lies_loose_beside_the_rooms() -> None:
    assert {path.name for path in SOURCE.iterdir() if path.is_file()} == LOOSE


@pytest.mark.parametrize("room", sorted(rooms()))
def test_imports_only_go_down(room: str) -> None:
    height = {name: -number for number, level in enumerate(levels()) for name in level}
    for file in (SOURCE / room).rglob("*.py"):
        for name in imports(file):
            if name == "lvs_healthd.__version__":
                continue
            other = name.split(".")[1]
            assert other == room or height[other] < height[room], f"{file.relative_to(ROOT)} imports {name}"


def test_no_file_imports_itself_by_a_detour() -> None:
    names = {module_name(file): file for file in SOURCE.rglob("*.py")}
    graph = {
        name: {each if each in names else each.rpartition(".")[0] for each in imports(file)} - {name}
        for name, file in names.items()
    }
    order = graphlib.TopologicalSorter(graph)
    order.prepare()  # raises CycleError, which names the circle


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?)`", PAGE))
    assert len(named) > 15
    for name in named:
        path = SOURCE / name
        assert path.exists() or path.with_suffix(".py").exists() or (ROOT / name).exists(), name
