"""How long spares are kept, and when a revision has none: a pool in this process, by a clock that the test moves."""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from localaws.core import Core
from localaws.functions.deployment import Deployment
from localaws.functions.launch import Launch
from localaws.functions.pool import Pool
from localaws.functions.spare_records import Bounds, SpareCounts
from localaws.idle_priority import can_come_back
from localaws.settings import Settings
from tests.command_lines import command_line
from tests.hearing import TELL, Ear, hearing
from tests.localaws.roles import role_inside

ROLE = "spare-environments"
WAIT_SECONDS = 60.0  # at idle priority, an init waits for all that the machine does besides
GOOD = "def handler(event, context):\n    return 1\n"
FAILS_AS_A_SPARE = (
    TELL
    + """
import os
if tell(os.environ["EAR"], "starts") != "0":
    raise RuntimeError("a spare's init fails")
def handler(event, context):
    return 1
"""
)
TELLS_ITS_PRIORITY = (
    TELL
    + """
import os, time
time.sleep(0.3)
if os.sched_getscheduler(0) == os.SCHED_IDLE:  # a spare, not the environment that was asked for
    time.sleep(6)
    tell(os.environ["EAR"], f"{os.sched_getscheduler(0)} {os.getpriority(os.PRIO_PROCESS, 0)}")
def handler(event, context):
    return 1
"""
)


@dataclass
class Room:
    """A pool with a function of one file, and its clock in seconds."""

    core: Core
    folder: Path
    ear: Ear
    limits: list[int] = field(default_factory=lambda: [10])
    now: list[float] = field(default_factory=lambda: [0.0])

    def pool(self, *, machine_limit: int = 10) -> Pool:
        return Pool(
            lambda executor: Launch(self.core, self.folder / "environments", executor),
            machine_limit=machine_limit,
            spares=Bounds(of_revision=2, in_all=4, kept_seconds=60.0),
            limit=lambda _: self.limits[0],
            clock=lambda: self.now[0],
        )

    def deployment(self, source: str = GOOD, revision: str = "r1") -> Deployment:
        code = self.folder / revision
        code.mkdir()
        (code / "handler.py").write_text(source)
        role = f"arn:aws:iam::{self.core.settings.account_id}:role/{ROLE}"
        variables = {"EAR": str(self.ear.port)}
        return Deployment("f", "1", "arn", revision, "python3.11", "handler.handler", role, code, variables, 3, 128)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    core = Core(Settings(home=tmp_path / "home"))
    with role_inside(core.settings.account_id, ROLE, "lambda"), hearing() as ear:
        yield Room(core, tmp_path, ear)
    core.shutdown()


async def counts_when(pool: Pool, ready: int, failed: int = 0) -> SpareCounts:
    deadline = time.monotonic() + WAIT_SECONDS
    while (counts := pool.spares.counts()["f"]).ready != ready or counts.failed != failed:
        assert time.monotonic() < deadline, counts
        await asyncio.sleep(0.01)
    return counts


def test_spares_end_sixty_seconds_after_the_last_invocation(room: Room) -> None:
    async def story() -> None:
        pool, deployment = room.pool(), room.deployment()
        pool.give_back(await pool.take(deployment))
        pids = (await counts_when(pool, 2)).pids
        room.now[0] = 59.0
        pool.give_back(await pool.take(deployment))
        room.now[0] = 118.0
        pool.spares.sweep()
        assert pool.spares.counts()["f"].ready == 2
        room.now[0] = 120.0
        pool.spares.sweep()
        assert (await counts_when(pool, 0)).wanted == 0
        await pool.remove(lambda _: True)
        assert not any(psutil.pid_exists(pid) for pid in pids)
        assert pool.spares.counts() == {}

    asyncio.run(story())


def test_a_revision_whose_spares_fail_three_times_in_a_row_has_none(room: Room) -> None:
    async def story() -> None:
        pool = room.pool()
        await pool.take(room.deployment(FAILS_AS_A_SPARE))
        counts = await counts_when(pool, 0, failed=3)
        assert counts.wanted == 0 and counts.cold == 1 and counts.discarded == 0
        await pool.remove(lambda _: True)

    asyncio.run(story())


def test_nothing_is_left_of_a_function_that_is_removed_while_a_spare_is_made(room: Room) -> None:
    async def story() -> None:
        for turn in range(5):
            pool = room.pool()
            await pool.take(room.deployment(revision=f"r{turn}"))
            for _ in range(turn):
                await asyncio.sleep(0)
            await pool.remove(lambda _: True)
            assert not [each for each in psutil.Process().children() if "awslambdaric" in command_line(each)]
            await asyncio.sleep(0.1)
            assert pool.spares.counts() == {} and pool.spares.count == 0

    asyncio.run(story())


@pytest.mark.skipif(not can_come_back(), reason="neither CAP_SYS_NICE nor RLIMIT_NICE")
def test_an_init_that_takes_long_gets_a_higher_priority(room: Room) -> None:
    async def story() -> None:
        pool = room.pool()
        await pool.take(room.deployment(TELLS_ITS_PRIORITY))
        deadline = time.monotonic() + 90
        while not room.ear.lines:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        await pool.remove(lambda _: True)

    asyncio.run(story())
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert room.ear.lines[0] == f"{os.SCHED_OTHER} {min(19, own + 10)}"


def test_environments_that_are_asked_for_take_the_place_of_spares(room: Room) -> None:
    async def story() -> None:
        pool, first, second = room.pool(machine_limit=3), room.deployment(), room.deployment(revision="r2")
        await pool.take(first)
        await counts_when(pool, 2)
        assert pool.free == 0 and pool.room == 2
        environments = [await pool.take(second), await pool.take(second)]
        assert all(environment.is_alive for environment in environments)
        assert pool.spares.count == 0 and pool.room == 0
        await pool.remove(lambda _: True)

    asyncio.run(story())


def test_a_limit_that_falls_ends_spares(room: Room) -> None:
    async def story() -> None:
        pool = room.pool()
        await pool.take(room.deployment())
        await counts_when(pool, 2)
        room.limits[0] = 2
        pool.spares.sweep()
        assert (await counts_when(pool, 1)).wanted == 1
        await pool.remove(lambda _: True)

    asyncio.run(story())


def test_a_wait_for_a_spares_init_that_is_given_up_ends_the_spare(room: Room) -> None:
    async def story() -> None:
        pool, deployment = room.pool(), room.deployment()
        await pool.take(deployment)
        pids = (await counts_when(pool, 2)).pids
        taking = asyncio.create_task(pool.take(deployment))
        while pool.spares.counts()["f"].ready == 2:
            await asyncio.sleep(0)
        taking.cancel()
        assert pids[0] not in (await counts_when(pool, 2)).pids
        await pool.remove(lambda _: True)

    asyncio.run(story())
