"""Environments start in turn, a request takes one that becomes free first, a wait that is given up loses nothing."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from localaws.core import Core
from localaws.functions.deployment import Deployment
from localaws.functions.environment import Environment
from localaws.functions.launch import Launch
from localaws.functions.start_queue import StartQueue

DEPLOYMENT = Deployment("f", "1", "arn", "r1", "python3.11", "h.h", "role", Path("/nonexistent"), {}, 3, 128)


def environment(revision: str = "r1") -> Environment:
    """One that is never started."""
    launch = Launch(cast(Core, None), Path("/nonexistent"), ThreadPoolExecutor(1))
    return Environment(replace(DEPLOYMENT, revision=revision), launch)


def waits(turns: StartQueue, revision: str = "r1") -> asyncio.Task[Environment | None]:
    return asyncio.get_running_loop().create_task(turns.wait(replace(DEPLOYMENT, revision=revision)))


async def done(tasks: list[asyncio.Task[Environment | None]]) -> list[bool]:
    for _ in range(3):
        await asyncio.sleep(0)
    return [task.done() for task in tasks]


def test_so_many_start_at_once_and_the_next_when_one_is_over() -> None:
    async def story() -> None:
        turns = StartQueue(2, lambda _: None)
        tasks = [waits(turns) for _ in range(4)]
        assert await done(tasks) == [True, True, False, False]
        turns.over()
        assert await done(tasks) == [True, True, True, False]
        turns.over()
        assert await done(tasks) == [True] * 4 and all(task.result() is None for task in tasks)

    asyncio.run(story())


def test_who_waits_longest_gets_an_environment_of_its_revision_that_becomes_free() -> None:
    async def story() -> None:
        turns, free = StartQueue(1, lambda _: None), environment("r1")
        tasks = [waits(turns), waits(turns, "r2"), waits(turns, "r1"), waits(turns, "r1")]
        await done(tasks)
        assert turns.offer(free)
        assert await done(tasks) == [True, False, True, False] and tasks[2].result() is free
        assert not turns.offer(environment("r3"))
        turns.over()
        assert await done(tasks) == [True, True, True, False] and tasks[1].result() is None
        tasks[3].cancel()

    asyncio.run(story())


def test_a_wait_that_is_given_up_passes_on_what_it_was_handed_at_that_moment() -> None:
    async def story() -> None:
        returned: list[Environment] = []
        turns, free = StartQueue(1, returned.append), environment()
        tasks = [waits(turns) for _ in range(3)]
        await done(tasks)
        turns.offer(free)
        tasks[1].cancel()
        assert await done(tasks) == [True, True, False] and returned == [free]
        turns.over()
        tasks[2].cancel()
        last = waits(turns)
        assert await done([tasks[2], last]) == [True, True], "the turn that was given up is the last one's"
        assert tasks[2].cancelled() and last.result() is None

    asyncio.run(story())


def test_a_wait_that_is_given_up_before_its_turn_takes_none() -> None:
    async def story() -> None:
        turns = StartQueue(1, lambda _: None)
        tasks = [waits(turns), waits(turns)]
        await done(tasks)
        tasks[1].cancel()
        await done(tasks)
        turns.over()
        assert await done([waits(turns), waits(turns)]) == [True, False]

    asyncio.run(story())


def test_a_wait_that_is_given_up_and_passed_by_in_the_same_moment_ends_as_cancelled() -> None:
    async def story() -> None:
        turns = StartQueue(1, lambda _: None)
        tasks = [waits(turns) for _ in range(3)]
        await done(tasks)
        tasks[1].cancel()
        tasks[2].cancel()
        turns.over()
        assert await done(tasks) == [True] * 3 and tasks[1].cancelled() and tasks[2].cancelled()
        assert await done([waits(turns), waits(turns)]) == [True, False]

    asyncio.run(story())


def test_who_waits_for_a_deployment_that_is_removed_is_told_and_the_others_go_on() -> None:
    async def story() -> None:
        turns = StartQueue(1, lambda _: None)
        tasks = [waits(turns, "r1"), waits(turns, "r1"), waits(turns, "r2")]
        await done(tasks)
        turns.refuse(lambda deployment: deployment.revision == "r1")
        assert await done(tasks) == [True, True, False]
        with pytest.raises(OSError, match="it was deleted"):
            tasks[1].result()
        turns.over()
        assert await done(tasks) == [True] * 3 and tasks[2].result() is None

    asyncio.run(story())


def test_an_environments_end_is_told_once_whether_it_comes_early_or_late() -> None:
    told: list[str] = []
    early = environment()
    early.when_init_is_over(lambda: told.append("early"))
    early.close()
    early.end_init()
    late = environment()
    late.close()
    late.when_init_is_over(lambda: told.append("late"))
    assert told == ["early", "late"]
