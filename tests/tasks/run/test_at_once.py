"""Work on several things ends soon when it fails on one of them, and the first error is the one that is raised."""

import threading

import pytest

from tasks.run.at_once import EndedWaits, at_once
from tasks.run.aws import Aws
from tasks.run.errors import StageFailed
from tasks.run.settings import Settings
from tasks.run.waiting import wait_for


def test_results_are_in_the_order_of_the_items() -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 1:
            assert second_is_done.wait(30)
        else:
            second_is_done.set()
        return 10 * item

    assert at_once([1, 2], work) == [10, 20]
    assert at_once([], work) == []


def test_the_others_end_in_the_middle_of_a_pause_when_one_fails() -> None:
    waits, target = EndedWaits(), Aws(Settings(endpoint_url="http://127.0.0.1:9")).target
    errors: list[str] = []

    def work(item: int) -> None:
        if item == 1:
            raise StageFailed("work", "the first", "it broke", "again")
        try:
            wait_for(
                target, "work", lambda: (None, "begun"), deadline_seconds=300, poll_seconds=300, waiting=waits.waiting
            )
        except StageFailed as error:
            errors.append(error.what)
            raise

    with pytest.raises(StageFailed, match="the first"):
        at_once([1, 2, 3], work, end_others=waits.end)
    assert errors == ["it was ended", "it was ended"], "they have ended, and not by their deadlines"
