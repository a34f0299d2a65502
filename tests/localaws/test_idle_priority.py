"""The idle priority of a process tree: it yields to who is busy, and all of it comes back, threads and children too."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from localaws.idle_priority import can_come_back, idle, low, normal
from localaws.processes import PROCESS

needs_way_back = pytest.mark.skipif(not can_come_back(), reason="neither CAP_SYS_NICE nor RLIMIT_NICE")
TREE = """
import subprocess, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
code = "import sys; print(0, flush=True); sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
input()
"""


HAS_ORPHAN = """
import subprocess, sys
code = "input()"
between = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {code!r}], stdout=2).pid, flush=True)"
found = subprocess.run([sys.executable, "-c", between], stdin=0, stdout=subprocess.PIPE, start_new_session=True)
print(int(found.stdout), flush=True)
input()
"""


@contextmanager
def running(code: str, **variables: str) -> Iterator[tuple[int, int]]:
    """Run a Python program in a session of its own until the block ends; yield its id and the id that it prints."""
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, **variables},
    )
    assert parent.stdout is not None
    try:
        yield parent.pid, int(parent.stdout.readline())
    finally:
        parent.communicate(b"\n", timeout=60)


@pytest.fixture
def tree() -> Iterator[tuple[int, int]]:
    """Yield the ids of a process with two threads, in a session of its own, and of its child."""
    with running(TREE) as ids:
        yield ids


@pytest.fixture
def orphan() -> Iterator[tuple[int, int]]:
    """Yield the ids of a process with a mark and of one that carries it but has lost its parent, in another session."""
    with running(HAS_ORPHAN, **{PROCESS: uuid.uuid4().hex}) as ids:
        yield ids


def policies(pid: int) -> list[int]:
    return [os.sched_getscheduler(int(entry.name)) for entry in Path(f"/proc/{pid}/task").iterdir()]


@needs_way_back
def test_a_tree_goes_idle_and_comes_back(tree: tuple[int, int]) -> None:
    parent, child = tree
    assert idle(parent)
    assert policies(parent) == [os.SCHED_IDLE] * 2
    assert policies(child) == [os.SCHED_IDLE]
    normal(parent)
    assert policies(parent) == [os.SCHED_OTHER] * 2
    assert policies(child) == [os.SCHED_OTHER]


@needs_way_back
def test_one_that_lost_its_parent_comes_back_too(orphan: tuple[int, int]) -> None:
    leader, lost = orphan
    assert lost not in {child.pid for child in psutil.Process(leader).children(recursive=True)}
    assert idle(leader)
    assert policies(lost) == [os.SCHED_IDLE]
    normal(leader)
    assert policies(lost) == [os.SCHED_OTHER]


@needs_way_back
def test_low_is_between_idle_and_normal(tree: tuple[int, int]) -> None:
    parent, child = tree
    own = os.getpriority(os.PRIO_PROCESS, 0)
    idle(parent)
    low(parent)
    assert policies(child) == [os.SCHED_OTHER]
    assert os.getpriority(os.PRIO_PROCESS, child) == min(19, own + 10)
    normal(parent)
    assert (policies(child), os.getpriority(os.PRIO_PROCESS, child)) == ([os.SCHED_OTHER], own)


@needs_way_back
def test_where_the_kernel_groups_by_session_the_group_yields_too(tree: tuple[int, int]) -> None:
    group = Path(f"/proc/{tree[0]}/autogroup")
    if not group.exists():
        pytest.skip("this kernel does not group tasks by session")
    idle(tree[0])
    assert group.read_text().endswith("nice 19\n")
    normal(tree[0])
    assert group.read_text().endswith("nice 0\n")


def test_the_trial_leaves_this_process_as_it_was() -> None:
    can_come_back()
    assert set(policies(os.getpid())) == {os.SCHED_OTHER}


def test_a_process_of_this_session_is_left_alone() -> None:
    assert not idle(os.getpid())
    assert set(policies(os.getpid())) == {os.SCHED_OTHER}


def test_a_process_that_ended_is_no_error() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    ended.wait(60)
    assert not idle(ended.pid)
    normal(ended.pid)
