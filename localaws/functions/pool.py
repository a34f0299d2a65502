"""The pool of execution environments on demand: warm ones by revision, spares, and the machine's limit.

Runs on the event loop. Ending a process blocks, so it is done on threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from localaws.functions.concurrency import ThrottledError
from localaws.functions.deployment import Deployment
from localaws.functions.environment import Environment
from localaws.functions.launch import ON_DEMAND, HeldKey, Launch
from localaws.functions.spare_records import NO_SPARES, Bounds
from localaws.functions.spares import Spares
from localaws.functions.start_queue import StartQueue
from localaws.processors import usable_processors

MACHINE_LIMIT = 100  # environments, each one a process of 25 MB and more
IDLE_SECONDS = 300.0  # emulated; AWS does not say, 5 to 15 minutes are seen
SWEEP_SECONDS = 1.0
START_THREADS = 4
TURN_SECONDS = 1.0
STOP_THREADS = 8


class Pool:
    """Hands out environments: a warm one if there is one, else a spare, else a new one. Making a pool starts nothing.

    `limit`: how many environments a function may have on demand; asked only where there are spares.
    """

    def __init__(
        self,
        make_launch: Callable[[ThreadPoolExecutor], Launch],
        *,
        idle_seconds: float = IDLE_SECONDS,
        machine_limit: int = MACHINE_LIMIT,
        spares: Bounds = NO_SPARES,
        limit: Callable[[str], int] = lambda _: MACHINE_LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stoppers = ThreadPoolExecutor(STOP_THREADS, "end lambda")
        self._launch = make_launch(ThreadPoolExecutor(START_THREADS, "start lambda"))
        self._start_queue = StartQueue(usable_processors(), self.give_back)
        self.spares = Spares(self, limit, spares, clock=clock)
        self._idle: dict[str, list[Environment]] = {}
        self._all: set[Environment] = set()
        self._ending: dict[asyncio.Future[None], Deployment] = {}
        self._making: dict[asyncio.Future[None], Deployment] = {}  # whose processes do not exist yet
        self._retired: set[str] = set()
        self._idle_seconds = idle_seconds
        self._machine_limit = machine_limit
        self._clock = clock
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def room(self) -> int:
        """How many more environments the machine may run, if spares and those that idle on demand make way."""
        idle = sum(len(group) for group in self._idle.values())
        return self.free + self.spares.count + idle

    @property
    def free(self) -> int:
        """How many more environments the machine may run without any making way."""
        return self._machine_limit - len(self._all)

    @property
    def limit_text(self) -> str:
        """Say what the machine's limit is: it is localaws's, not AWS's."""
        return f"localaws runs at most {self._machine_limit} execution environments on this machine."

    def on_demand(self, name: str) -> int:
        """Return how many environments a function has on demand, spares among them."""
        return sum(each.deployment.name == name and each.initialization_type == ON_DEMAND for each in self._all)

    async def take(self, deployment: Deployment) -> Environment:
        """Return an environment of this revision that nothing else uses; a cold one has its process started.

        Raises: ThrottledError when the machine runs as many as it may; NoSuchRole if the function's role is gone;
        OSError if the deployment is removed meanwhile, or no process can be made.
        """
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())
        self.spares.used(deployment)
        environment = self._warm(deployment) or await self.spares.take(deployment)
        environment = environment or await self._start_queue.wait(deployment)
        return environment or await self._start_in_turn(deployment)

    def _warm(self, deployment: Deployment) -> Environment | None:
        idle = self._idle.get(deployment.revision, [])
        while idle:
            environment = idle.pop()
            if environment.is_alive:
                return environment
            self.end([environment])
        return None

    async def _start_in_turn(self, deployment: Deployment) -> Environment:
        """Start an environment; the turn ends with its init, or when that lasts so long that it hardly computes."""
        try:
            environment = await self.start(deployment, ON_DEMAND)
        except BaseException:
            self._start_queue.over()
            raise
        environment.when_init_is_over(self._start_queue.over)
        asyncio.get_running_loop().call_later(TURN_SECONDS, environment.end_init)
        if environment in self._all and deployment.revision not in self._retired:
            self.spares.began_cold(deployment)
        return environment

    async def start(self, deployment: Deployment, initialization_type: str) -> Environment:
        """Start a new environment, not waiting for its init.

        Raises: ThrottledError when the machine runs as many as it may; NoSuchRole if the function's role is gone.
        """
        if self.free <= 0 and not self.spares.make_way() and not self._evict_longest_idle():
            raise ThrottledError("ConcurrentInvocationLimitExceeded", f"Rate Exceeded. {self.limit_text}")
        return await self._start(Environment(deployment, self._launch, initialization_type))

    async def start_spare(self, deployment: Deployment, held_key: HeldKey) -> Environment:
        """Start an environment that may not call AWS yet, not waiting for its init.

        Raises: NoSuchRole if the function's role is gone; StopFailed, OSError if no process can be made.
        """
        return await self._start(Environment(deployment, self._launch, held_key=held_key))

    async def _start(self, environment: Environment) -> Environment:
        """Raises: OSError also if the environment was ended while its process was made: it is ended again then."""
        self._all.add(environment)
        made = asyncio.get_running_loop().create_future()
        self._making[made] = environment.deployment
        try:
            await environment.start()
            if environment not in self._all:
                raise OSError("it was deleted")
        except BaseException:
            self.end([environment])
            raise
        finally:
            del self._making[made]
            made.set_result(None)
        return environment

    def give_back(self, environment: Environment) -> None:
        """Keep the environment for the next invocation, or end it if it is dead or its revision is retired."""
        if not environment.is_alive or environment.deployment.revision in self._retired or environment not in self._all:
            self.end([environment])
            return
        if self._start_queue.offer(environment):
            return
        environment.idle_since = self._clock()
        self._idle.setdefault(environment.deployment.revision, []).append(environment)
        self.spares.used(environment.deployment)

    def retire(self, revision: str) -> None:
        """End the idle and spare environments of a revision now, and those that are busy when they are done."""
        self._retired.add(revision)
        self.spares.retire(revision)
        self.end(self._idle.pop(revision, []))

    async def remove(self, is_removed: Callable[[Deployment], bool]) -> None:
        """End every environment of these deployments, busy or not; returns when no process of them is left."""
        self._start_queue.refuse(is_removed)
        self.spares.remove(is_removed)
        self.end([kept for kept in self._all if is_removed(kept.deployment)])
        await asyncio.gather(*[made for made, deployment in self._making.items() if is_removed(deployment)])
        await asyncio.gather(*[ending for ending, deployment in self._ending.items() if is_removed(deployment)])

    def close(self) -> None:
        """End everything; for the server's shutdown, from any thread."""
        for environment in list(self._all):
            environment.kill()
        self._all.clear()

    def end(self, environments: Iterable[Environment]) -> list[asyncio.Future[None]]:
        """End environments, busy or not; the futures are done when their processes are gone."""
        loop, ending = asyncio.get_running_loop(), []
        for environment in list(environments):
            self._all.discard(environment)
            for idle in self._idle.values():
                if environment in idle:
                    idle.remove(environment)
            environment.close()
            ended = loop.run_in_executor(self._stoppers, environment.kill)
            self._ending[ended] = environment.deployment
            ended.add_done_callback(self._ending.pop)
            ending.append(ended)
        return ending

    def _evict_longest_idle(self) -> bool:
        idle = [environment for group in self._idle.values() for environment in group]
        if not idle:
            return False
        self.end([min(idle, key=lambda environment: environment.idle_since)])
        return True

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            oldest = self._clock() - self._idle_seconds
            idle = [environment for group in self._idle.values() for environment in group]
            self.end([kept for kept in idle if kept.idle_since < oldest or not kept.is_alive])
            self.spares.sweep()
            self._idle = {revision: group for revision, group in self._idle.items() if group}
