"""A process and its descendants are seen while some of them end."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from localaws.functions.process_usage import cpu_seconds
from localaws.process_tree import family, find_members, memory_bytes
from tests.conftest import ROOT

HAS_CHILDREN_THAT_END = """
import subprocess
print(0, flush=True)
while True:
    for child in [subprocess.Popen(["true"]) for _ in range(4)]:
        child.wait()
"""
LOOK_SECONDS = 1.0


@pytest.fixture
def parent() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", HAS_CHILDREN_THAT_END], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process.pid
    process.kill()
    process.communicate()


def test_a_child_that_ends_hides_nothing_of_the_others(parent: int) -> None:
    until = time.monotonic() + LOOK_SECONDS
    while time.monotonic() < until:
        assert memory_bytes(parent) > 1 << 20
        assert cpu_seconds(parent) > 0.0


def test_of_a_process_that_ended_there_is_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(60)
    assert (family(ended.pid), memory_bytes(ended.pid), cpu_seconds(ended.pid)) == ([], 0, 0.0)


@pytest.mark.parametrize("leader", [0, 1])
def test_the_systems_groups_lead_nothing_of_ours(leader: int) -> None:
    with pytest.raises(ValueError, match="an id above 1"):
        find_members("NONE", "", {leader})


def test_what_a_process_descends_from_is_not_its_to_end() -> None:
    look = "import os; from localaws.process_tree import find_members; print(find_members('NONE', '', {os.getpgid(0)}))"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {look!r}], check=True)"
    command = [sys.executable, "-c", start]
    done = subprocess.run(command, cwd=ROOT, start_new_session=True, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", "neither itself nor its parent, though both are of the group"
