"""Tests that listing and reading a layout takes time and memory in proportion to the names, whatever they are.

Work is counted by lines of this project's code that are executed, because a clock would measure the machine.
"""

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tasks.data.archive import list_source
from tasks.data.layout import read_layout
from tasks.run.settings import Settings
from tests.tasks.data.datasets import tar_of, write_folder, zip_of
from tests.tasks.data.tables import read


def lines_of(work: Callable[[], object]) -> int:
    """Return how many lines of `tasks.data` a call executes; those of a comprehension count each time."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if "tasks/data" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return count


def tables_in_folders(count: int) -> object:
    folders = [f"d{n}" for n in range(count)]
    photos = [f"{folder}/{folder}.jpg" for folder in folders]
    tables = {f"{each}/labels.csv": f"file_name,label\n{each}.jpg,{n % 2}".encode() for n, each in enumerate(folders)}
    return read(photos, tables)


def second_copies(count: int) -> object:
    photos = [f"{split}/{label}/{n}.jpg" for split in ("train", "test") for label in "ab" for n in range(count)]
    return read([*photos, *(f"copy{n}/train/a/{n}.jpg" for n in range(count))], {})


def flat_sections(count: int) -> object:
    photos = [f"{split}/c{n % 2}/{n}.jpg" for split in ("train", "test") for n in range(count)]
    return read([*photos, *(f"unlabeled{n}/{n}.jpg" for n in range(count))], {})


@pytest.mark.parametrize("work", [tables_in_folders, second_copies, flat_sections])
def test_twice_as_many_names_take_about_twice_the_work(work: Callable[[int], object]) -> None:
    work(10)  # what is done once and kept
    assert lines_of(lambda: work(240)) < 2.6 * lines_of(lambda: work(120))


@pytest.mark.parametrize("kind", ["zip", "tar", "folder"])
def test_a_file_below_too_many_folders_is_refused_and_takes_little_memory(tmp_path: Path, kind: str) -> None:
    depth = 800 if kind == "folder" else 1500
    deep = "a/" * depth + "x.jpg"
    files = {"labels.csv": b"file,label\n1.jpg,cat\n2.jpg,dog", "1.jpg": b"1", "2.jpg": b"2", deep: b"3"}
    path = tmp_path / "d"
    if kind == "folder":
        write_folder(path, files)
    else:
        path.write_bytes((zip_of if kind == "zip" else tar_of)(files))
    tracemalloc.start()
    listing = list_source(path, Settings())
    layout = read_layout(listing, lambda entry: files[entry.name])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [each.name for each in layout.quarantined] == [deep]
    assert layout.quarantined[0].reason == f"it is below {depth:,} folders; at most 100 are allowed"
    assert len(layout.candidates) == 2 and most < 8 * 2**20
