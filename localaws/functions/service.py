"""Invocations: resolve, lease, run in an environment, report. On the event loop of the front.

Control-plane threads reach the environments through `retire` and `remove_environments`, which hand over to that loop.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from localaws.core import Core
from localaws.errors import AwsError, NoSuchRole, StopFailed
from localaws.functions import reporting
from localaws.functions.concurrency import Concurrency, ThrottledError
from localaws.functions.deployment import Deployment, Execution, Invocation
from localaws.functions.environment import Environment, EnvironmentGoneError, Launch
from localaws.functions.naming import FunctionName
from localaws.functions.pool import IDLE_SECONDS, Pool

REMOVE_SECONDS = 30.0


@dataclass(frozen=True)
class AsyncPolicy:
    """How asynchronous events are tried again."""

    maximum_retry_attempts: int = 2
    maximum_event_age_seconds: float = 21_600.0


@dataclass(frozen=True)
class Target:
    """What a function name leads to: candidate deployments with their weights (one, unless an alias routes)."""

    name: str
    qualifier: str | None
    invoked_arn: str
    choices: tuple[tuple[Deployment, float], ...]
    async_policy: AsyncPolicy

    def choose(self, draw: float) -> Deployment:
        """Return the deployment for a draw in [0, 1)."""
        for deployment, weight in self.choices:
            draw -= weight
            if draw < 0:
                return deployment
        return self.choices[0][0]


class Resolver(Protocol):
    """The functions there are."""

    def resolve(self, name: FunctionName) -> Target:
        """Return what the name leads to.

        Raises: AwsError ResourceNotFoundException.
        """


@dataclass(frozen=True)
class Event:
    """What a caller sends."""

    request_id: str
    payload: bytes
    client_context: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True)
class Result:
    """What a caller gets."""

    version: str
    execution: Execution
    log_lines: list[str]


class FunctionService:
    """Runs functions. Constructing it starts nothing."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.folder = core.settings.home / "functions"
        self.concurrency = Concurrency()
        self._metrics = reporting.FunctionMetrics(core)
        self._pool = Pool(self._make_launch, idle_seconds=IDLE_SECONDS / core.settings.time_scale)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._events: set[asyncio.Task[None]] = set()
        core.on_shutdown(self._pool.close)

    def _make_launch(self, executor: ThreadPoolExecutor) -> Launch:
        return Launch(self.core, self.folder / "environments", executor)

    # On the event loop

    async def invoke(self, target: Target, event: Event) -> Result:
        """Run the function once and return what it came to, also when it failed.

        Raises: ThrottledError when there is no concurrency for it; AwsError when it cannot be started.
        """
        self._loop = asyncio.get_running_loop()
        deployment = target.choose(random.random())
        try:
            lease = self.concurrency.lease(deployment)
        except ThrottledError:
            self._metrics.throttled(target.name, target.qualifier)
            raise
        try:
            environment, execution = await self._run(target, deployment, event)
        finally:
            lease.release()
        self._metrics.finished(target.name, target.qualifier, execution, lease)
        lines = reporting.log_lines(deployment, event.request_id, execution)
        self.core.logs.write(f"/aws/lambda/{target.name}", environment.log_stream, lines)
        return Result(deployment.version, execution, lines)

    async def _take(self, target: Target, deployment: Deployment) -> Environment:
        try:
            return await self._pool.take(deployment)
        except NoSuchRole as error:
            message = "The role defined for the function cannot be assumed by Lambda."
            raise AwsError("AccessDeniedException", message, status=403) from error
        except (StopFailed, OSError) as error:
            raise AwsError("ServiceException", f"The function could not be started: {error}", status=500) from error
        except ThrottledError:
            self._metrics.throttled(target.name, target.qualifier)
            raise

    async def _run(self, target: Target, deployment: Deployment, event: Event) -> tuple[Environment, Execution]:
        """Run in a warm or a new environment; a warm one that turns out to be gone is passed over."""
        trace_id = event.trace_id or new_trace_id()
        while True:
            environment = await self._take(target, deployment)
            invocation = Invocation(event.request_id, event.payload, target.invoked_arn, trace_id, event.client_context)
            try:
                return environment, await environment.run(invocation)
            except EnvironmentGoneError:
                continue
            finally:
                self._pool.give_back(environment)

    def accept_event(self, resolve: Callable[[], Target], event: Event) -> None:
        """Take an asynchronous event: it is run in the background, and again if it fails."""
        task = asyncio.get_running_loop().create_task(self._deliver(resolve, event))
        self._events.add(task)
        task.add_done_callback(self._events.discard)

    async def _deliver(self, resolve: Callable[[], Target], event: Event) -> None:
        """Try an event until it succeeds, has failed three times, or is too old.

        Retries wait 1 and 2 minutes after a function error, and 1 s doubling to 5 minutes after a throttle, all divided
        by the time scale. Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
        """
        scale, accepted_at, failures, throttles = self.core.settings.time_scale, time.monotonic(), 0, 0
        while True:
            try:
                target = resolve()
            except AwsError:
                return  # deleted meanwhile: its events go with it
            try:
                result = await self.invoke(target, event)
                if result.execution.outcome.status == "success":
                    return
                failures += 1
                delay = 60.0 * failures
            except (ThrottledError, AwsError):
                throttles += 1
                delay = min(300.0, 2.0 ** (throttles - 1))
            age = (time.monotonic() - accepted_at) * scale
            policy = target.async_policy
            if failures > policy.maximum_retry_attempts or age + delay > policy.maximum_event_age_seconds:
                self._metrics.dropped(target.name, target.qualifier)
                return
            await asyncio.sleep(delay / scale)

    # From the control plane's threads

    def retire(self, revision: str) -> None:
        """Have no new invocation use environments of this revision."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._pool.retire, revision)

    def remove_environments(self, is_removed: Callable[[Deployment], bool]) -> None:
        """End the environments of these deployments and wait until their processes are gone."""
        self._wait_for(self._pool.remove(is_removed))

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop is None or self._loop.is_closed():
            work.close()  # nothing was ever invoked
            return
        asyncio.run_coroutine_threadsafe(work, self._loop).result(REMOVE_SECONDS)

    def code_folder(self, name: str) -> Path:
        """Where a function's packages are kept."""
        return self.folder / "code" / name


def new_trace_id() -> str:
    """Return an X-Ray trace header of an unsampled trace."""
    return f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"
