"""An environment takes no events any more when its credentials near their end: another one takes its place."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from localaws.core import Core
from localaws.functions.deployment import Deployment, Invocation
from localaws.functions.launch import Launch
from localaws.functions.pool import Pool
from localaws.functions.provisioned import Provisioner, Share
from localaws.settings import Settings
from tests.localaws.roles import role_inside

pytestmark = pytest.mark.slow  # real environments

LONGER_THAN_A_START = 6.0  # seconds, on a busy machine; one that ends before it has begun is never ready
ROLE = "short-lived-environments"
WAITS = "import os, time\ndef handler(event, context):\n    time.sleep(event)\n    return 1\n"


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    core = Core(Settings(home=tmp_path / "home"))
    with role_inside(core.settings.account_id, ROLE, "lambda"):
        yield core
    core.shutdown()


def pool_of(
    core: Core, folder: Path, lifetime_seconds: float, clock: Callable[[], float] = time.time
) -> tuple[Pool, Deployment]:
    code = folder / "code"
    code.mkdir()
    (code / "handler.py").write_text(WAITS)
    role = f"arn:aws:iam::{core.settings.account_id}:role/{ROLE}"
    pool = Pool(lambda executor: Launch(core, folder / "environments", executor, lifetime_seconds, clock))
    return pool, Deployment("f", "1", "arn", "r1", "python3.11", "handler.handler", role, code, {}, 30, 128)


async def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_one_that_is_busy_at_the_end_of_its_life_finishes_and_is_not_used_again(core: Core, tmp_path: Path) -> None:
    async def story() -> None:
        pool, deployment = pool_of(core, tmp_path, 1.0)
        first = await pool.take(deployment)
        invocation = Invocation("id", b"1.5", "arn", "trace", None, asyncio.get_running_loop().create_future())
        execution = await first.run(invocation)
        assert execution.outcome.status == "success"
        await until(lambda: not first.is_alive)
        pool.give_back(first)
        second = await pool.take(deployment)
        assert second.pid != first.pid
        await pool.remove(lambda _: True)
        assert first.pid is not None and not psutil.pid_exists(first.pid)

    asyncio.run(story())


def test_one_is_not_used_again_after_the_machine_slept_past_its_end(core: Core, tmp_path: Path) -> None:
    """While it sleeps, the time of day goes on and no timer does."""

    async def story() -> None:
        asleep = [0.0]
        pool, deployment = pool_of(core, tmp_path, 11 * 3600.0, lambda: time.time() + asleep[0])
        first = await pool.take(deployment)
        pool.give_back(first)
        assert await pool.take(deployment) is first
        pool.give_back(first)
        asleep[0] = 11 * 3600.0
        assert await pool.take(deployment) is not first
        await pool.remove(lambda _: True)

    asyncio.run(story())


def test_a_provisioned_one_is_replaced_though_nothing_asks_for_it(core: Core, tmp_path: Path) -> None:
    async def story() -> None:
        pool, deployment = pool_of(core, tmp_path, LONGER_THAN_A_START)
        provisioner, key = Provisioner(pool, lambda *_: None), ("f", "1")
        provisioner.set(key, [Share(deployment, 1)])

        def pid() -> int | None:
            environment = provisioner.take(deployment)
            if environment is None:
                return None
            provisioner.give_back(environment)
            return environment.pid

        await until(lambda: pid() is not None)
        first = pid()
        await until(lambda: pid() not in (None, first))
        await provisioner.drop(key)
        await pool.remove(lambda _: True)

    asyncio.run(story())
