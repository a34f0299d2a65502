"""The watch over an embedded AWS, against a real one that a signal stops."""

import os
import signal
from collections.abc import Iterator
from contextvars import ContextVar
from queue import Queue

import pytest

from tasks.run.localaws_watch import SAID_SECONDS, SILENT_SECONDS, LocalAwsWatch
from tests.conftest import RunningLocalAws


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stopped(own_localaws: RunningLocalAws) -> Iterator[RunningLocalAws]:
    os.kill(own_localaws.pid, signal.SIGSTOP)
    yield own_localaws
    os.kill(own_localaws.pid, signal.SIGCONT)


def looked(watch: LocalAwsWatch, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    watch.look()


def test_a_stopped_server_is_told_with_its_cure_again_and_again_until_it_answers(stopped: RunningLocalAws) -> None:
    said: list[str] = []
    clock = Clock()
    watch = LocalAwsWatch(f"{stopped.url}/", stopped.pid, said.append, clock=clock)
    looked(watch, clock, SILENT_SECONDS - 1)
    assert said == []
    for seconds in (1.0, SAID_SECONDS - 1, 1.0):
        looked(watch, clock, seconds)
    cure = f"a signal stopped process {stopped.pid} (SIGSTOP), and kill -CONT {stopped.pid} lets it go on"
    assert said == [
        f"localaws, the embedded AWS, has not answered for {seconds:.0f} s ({stopped.url}): {cure}"
        for seconds in (SILENT_SECONDS, SILENT_SECONDS + SAID_SECONDS)
    ]
    os.kill(stopped.pid, signal.SIGCONT)
    looked(watch, clock, 3.0)
    assert said[2:] == ["localaws answers again after 17 s; the command goes on"]
    looked(watch, clock, SILENT_SECONDS)
    assert len(said) == 3


def test_a_server_that_is_not_known_is_told_without_a_process(stopped: RunningLocalAws) -> None:
    said: list[str] = []
    clock = Clock()
    looked(LocalAwsWatch(stopped.url, None, said.append, clock=clock), clock, SILENT_SECONDS)
    assert said[0].endswith("it is busy, was stopped or hangs; the command waits for it")


def test_a_server_that_has_ended_is_not_told_as_silent() -> None:
    said: list[str] = []
    clock = Clock()
    looked(LocalAwsWatch("http://127.0.0.1:9", None, said.append, clock=clock), clock, 100.0)
    assert said == []


def test_where_no_command_tells_it_the_end_of_a_server_is_told_once() -> None:
    said: list[str] = []
    clock = Clock()
    watch = LocalAwsWatch("http://127.0.0.1:9", None, said.append, tells_end=True, clock=clock)
    for _ in range(3):
        looked(watch, clock, 2.0)
    assert said == [
        "localaws, the embedded AWS, has ended: nothing answers at http://127.0.0.1:9; "
        "kennel up starts another one there, then run the flow again"
    ]


def test_its_thread_says_things_in_the_context_that_it_was_started_in(stopped: RunningLocalAws) -> None:
    """A handler of Prefect's takes the flow run of a line from there."""
    here: ContextVar[str] = ContextVar("here", default="nowhere")
    said: Queue[str] = Queue()
    clock = Clock()
    here.set("flow run")
    watch = LocalAwsWatch(stopped.url, stopped.pid, lambda _: said.put(here.get()), clock=clock)
    clock.now = SILENT_SECONDS
    watch.start()
    try:
        assert said.get(timeout=90) == "flow run"
    finally:
        watch.end()
