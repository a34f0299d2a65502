"""Limits how many environments start on demand at once to the number of the machine's processors.

On AWS each environment starts on processors of its own. Here a burst of starts would slow all of them, and whatever
serves meanwhile; one after the other, each takes about as long as alone. A request that waits may also be given an
environment that becomes free first. Runs on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from localaws.functions.deployment import Deployment
from localaws.functions.environment import Environment


class StartQueue:
    """At most `at_once` starts at a time, in the order of arrival; `give_back` gets what no request waits for."""

    def __init__(self, at_once: int, give_back: Callable[[Environment], None]) -> None:
        self._free = at_once
        self._give_back = give_back
        self._waiting: deque[tuple[Deployment, asyncio.Future[Environment | None]]] = deque()

    async def wait(self, deployment: Deployment) -> Environment | None:
        """Wait for a turn, which `over` ends, and return None; or return an environment of this deployment.

        Raises: OSError when the deployment is removed.
        """
        if self._free:
            self._free -= 1
            return None
        turn: asyncio.Future[Environment | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((deployment, turn))
        try:
            return await turn
        except asyncio.CancelledError:
            self._leave(deployment, turn)
            raise

    def offer(self, environment: Environment) -> bool:
        """Hand an environment to the request that waits longest for its revision; return whether there is one."""
        for place in self._waiting:
            if place[0].revision == environment.deployment.revision and not place[1].done():
                self._waiting.remove(place)
                place[1].set_result(environment)
                return True
        return False

    def over(self) -> None:
        """End a turn: the next one begins."""
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def refuse(self, is_removed: Callable[[Deployment], bool]) -> None:
        """Have those who wait for deployments that were removed fail."""
        for place in list(self._waiting):
            if is_removed(place[0]) and not place[1].done():
                self._waiting.remove(place)
                place[1].set_exception(OSError("it was deleted"))

    def _leave(self, deployment: Deployment, turn: asyncio.Future[Environment | None]) -> None:
        if not turn.done() or turn.cancelled():
            with contextlib.suppress(ValueError):  # `over` may have passed it by
                self._waiting.remove((deployment, turn))
            return
        if turn.exception() is not None:
            return
        environment = turn.result()  # handed over at the very moment that the wait was given up
        if environment is None:
            self.over()
        else:
            self._give_back(environment)
