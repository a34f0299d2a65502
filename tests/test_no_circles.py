"""No file of a room imports itself by way of others: each room's files can be read from the bottom up.

Covered: every import statement, at any depth and under `if TYPE_CHECKING` too, of every Python file in a room. The
`__init__.py` of a package counts where something is imported from it by name, not where one of its modules is.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("flows", "tasks", "training", "loadtest", "localaws", "kennel")


def file_of(module: str, importer: Path) -> Path | None:
    """Return the file of a module of ours, None for any other; training's scripts also import from their own folder."""
    folders = (ROOT, importer.parent) if importer.parent == ROOT / "training" else (ROOT,)
    for folder in folders:
        path = folder.joinpath(*module.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


def imported_files(importer: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(importer.read_text(), filename=str(importer))):
        if isinstance(node, ast.Import):
            found = [file_of(alias.name, importer) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            package = node.module
            found = [file_of(f"{package}.{alias.name}", importer) or file_of(package, importer) for alias in node.names]
        else:
            continue
        yield from (file for file in found if file is not None and file != importer)


def imports_within(room: str) -> dict[Path, set[Path]]:
    files = set((ROOT / room).rglob("*.py"))
    assert files, f"{room}/ holds no Python file: has it moved?"
    return {file: files & set(imported_files(file)) for file in files}


def first_circle(imports: dict[Path, set[Path]]) -> list[str]:
    """Return the files of a circle, the first one again at the end; empty where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return [str(file.relative_to(ROOT)) for file in reversed(error.args[1])]
    return []


@pytest.mark.parametrize("room", ROOMS)
def test_no_files_of_a_room_import_each_other_in_a_circle(room: str) -> None:
    circle = first_circle(imports_within(room))
    assert not circle, f"{' imports '.join(circle)}: move what they share into a lower file"
