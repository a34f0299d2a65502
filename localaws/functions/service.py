"""Runs invocations on the front's event loop: resolve the name, lease concurrency, run in an environment, report.

Threads of the control plane reach the environments through `retire` and `remove_environments`, which call into that
loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from localaws.core import Core
from localaws.errors import AwsError, NoSuchRole, StopFailed
from localaws.functions import log_lines
from localaws.functions.concurrency import Concurrency, Lease, Resource, ThrottledError
from localaws.functions.deployment import Deployment, Execution, Invocation
from localaws.functions.environment import Environment, EnvironmentGoneError, InitFailedError
from localaws.functions.launch import PROVISIONED, Launch
from localaws.functions.metrics import FunctionMetrics
from localaws.functions.naming import FunctionName
from localaws.functions.pool import IDLE_SECONDS, Pool
from localaws.functions.provisioned import Key, Provisioner
from localaws.functions.requests import Event, Result, Target, new_trace_id
from localaws.functions.spare_records import NO_SPARES, SPARES, Bounds
from localaws.functions.spares import Spares
from localaws.functions.url_config import UrlConfig
from localaws.idle_priority import can_come_back
from localaws.permissions.roles import LogsOfRole, Role
from localaws.settings import Settings

REMOVE_SECONDS = 30.0
SAMPLE_SECONDS = 15.0  # emulated; how often gauges are taken while invocations run
SHORTEST_SAMPLE_SECONDS = 0.2


T = TypeVar("T")


@dataclass(frozen=True)
class Admission:
    """A lease with what it was taken for. `provisioned_for`: whose provisioned environments the deployment has."""

    resource: Resource
    deployment: Deployment
    lease: Lease
    environment: Environment | None  # a provisioned one; None: one on demand has to be had
    provisioned_for: Key | None


class FunctionService:
    """Runs functions. Constructing it starts nothing."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.folder = core.settings.home / "functions"
        self.concurrency = Concurrency(core.quotas.executions)
        self.metrics = FunctionMetrics(core)
        self.url_configs: dict[FunctionName, UrlConfig] = {}
        self._logs: dict[tuple[str, str], LogsOfRole] = {}
        idle_seconds = IDLE_SECONDS / core.settings.time_scale
        self._pool = Pool(
            self._make_launch,
            idle_seconds=idle_seconds,
            spares=_spare_bounds(core.settings, idle_seconds),
            limit=self.concurrency.on_demand_limit,
        )
        self.provisioner = Provisioner(self._pool, self._report_init)
        self.provisioned_at: dict[Key, datetime] = {}  # when a configuration was last put
        self.loop: asyncio.AbstractEventLoop | None = None  # the front's, from its first request on
        self._events: set[asyncio.Task[None]] = set()
        self._sampler: asyncio.Task[None] | None = None
        core.on_shutdown(self._pool.close)

    def _make_launch(self, executor: ThreadPoolExecutor) -> Launch:
        return Launch(self.core, self.folder / "environments", executor)

    @property
    def spares(self) -> Spares:
        """The environments that are started ahead for cold starts on demand; on the event loop."""
        return self._pool.spares

    # On the event loop

    async def invoke(self, target: Target, event: Event, *, is_synchronous: bool = True) -> Result:
        """Run the function once and return what it came to, also when it failed.

        Raises: ThrottledError when there is no concurrency for it; AwsError when it cannot be started.
        """
        if self._sampler is None:
            self._sampler = asyncio.create_task(self._sample())
        deployment = target.choose(random.random())
        trace_id = event.trace_id or new_trace_id()
        while True:
            try:
                admission = self._admit(target.resource, deployment, is_synchronous=is_synchronous)
                environment = admission.environment or await self._take(admission)
            except ThrottledError:
                self.metrics.throttled(target.resource)
                raise
            try:
                execution = await environment.run(
                    Invocation(event.request_id, event.payload, target.invoked_arn, trace_id, event.client_context)
                )
            except EnvironmentGoneError:
                continue  # the event was not delivered: another environment gets it
            finally:
                admission.lease.release()
                self._give_back(environment)
            return self._report(target, event, admission, environment, execution)

    def _admit(self, resource: Resource, deployment: Deployment, *, is_synchronous: bool) -> Admission:
        """Take a lease in AWS's order: provisioned of this version, else reserved or unreserved.

        Raises: ThrottledError.
        """
        key = self.provisioner.allocation_for(deployment)
        environment = self.provisioner.take(deployment) if key else None
        if environment is not None:
            lease = self.concurrency.lease_provisioned(resource)
        else:
            lease = self.concurrency.lease(resource, is_synchronous=is_synchronous)
        self.metrics.running(resource, lease.running)
        if key is not None and (state := self.provisioner.state(key)):
            self.metrics.provisioned(key, state)
        return Admission(resource, deployment, lease, environment, key)

    async def _take(self, admission: Admission) -> Environment:
        """Get an environment on demand, warm or new; without one the lease is given back.

        Raises: ThrottledError when the machine runs as many as it may; AwsError when none can be started.
        """
        try:
            return await self._pool.take(admission.deployment)
        except BaseException as error:
            admission.lease.release()
            if isinstance(error, NoSuchRole):
                message = "The role defined for the function cannot be assumed by Lambda."
                raise AwsError("AccessDeniedException", message, status=403) from error
            if isinstance(error, StopFailed | OSError):
                message = f"The function could not be started: {error}"
                raise AwsError("ServiceException", message, status=500) from error
            raise

    def _give_back(self, environment: Environment) -> None:
        if environment.initialization_type == PROVISIONED:
            self.provisioner.give_back(environment)
        else:
            self._pool.give_back(environment)

    def _report(
        self, target: Target, event: Event, admission: Admission, environment: Environment, execution: Execution
    ) -> Result:
        deployment = admission.deployment
        version = deployment.version if target.is_alias else None
        self.metrics.finished(admission.resource, version, execution)
        if admission.provisioned_for is not None:
            is_spillover = admission.environment is None
            self.metrics.provisioned_invocation(admission.resource, version, is_spillover=is_spillover)
        lines = log_lines.of_invocation(deployment, event.request_id, execution)
        self._write(deployment, environment.log_stream, lines)
        return Result(deployment.version, execution, lines)

    def _report_init(self, environment: Environment, init_ms: float, error: InitFailedError | None) -> None:
        error_type = error.error_type if error else None
        lines = log_lines.of_init(environment.deployment, environment.new_output(), init_ms, error_type)
        self._write(environment.deployment, environment.log_stream, lines)

    def _write(self, deployment: Deployment, stream: str, lines: list[str]) -> None:
        """Write lines as the function's role: what it may not write is lost, as on AWS."""
        key = (deployment.role, deployment.name)
        if key not in self._logs:
            self._logs[key] = LogsOfRole(self.core.logs, Role(self.core.authority, *key))
        self._logs[key].write(f"/aws/lambda/{deployment.name}", stream, lines)

    async def _sample(self) -> None:
        """Take the gauges again and again while invocations run: one that lasts minutes is seen in each of them."""
        seconds = max(SHORTEST_SAMPLE_SECONDS, SAMPLE_SECONDS / self.core.settings.time_scale)
        while True:
            await asyncio.sleep(seconds)
            for resource, running in self.concurrency.running().items():
                self.metrics.running(resource, running)
            for key, state in self.provisioner.states().items():
                if state.busy:
                    self.metrics.provisioned(key, state)

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
                result = await self.invoke(target, event, is_synchronous=False)
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
                self.metrics.dropped(target.resource)
                return
            await asyncio.sleep(delay / scale)

    # From the control plane's threads

    def retire(self, revision: str) -> None:
        """Have no new invocation use environments of this revision."""
        self.on_loop(lambda: self._pool.retire(revision))

    def remove_environments(self, is_removed: Callable[[Deployment], bool]) -> None:
        """End the environments of these deployments and wait until their processes are gone."""
        self._wait_for(self._pool.remove(is_removed))

    def unprovision(self, key: Key) -> None:
        """End what is provisioned for a version or alias; what is not busy is gone when this returns."""
        self.concurrency.unprovision(*key)
        self._wait_for(self.provisioner.drop(key))

    def on_loop(self, call: Callable[[], T]) -> T:
        """Run a call on the event loop, from this thread or the loop's own, and return what it returns.

        Raises: AwsError ServiceException before the server serves and after it has stopped.
        """
        loop = self.loop
        if loop is None or loop.is_closed():
            raise AwsError("ServiceException", "localaws does not serve Lambda at the moment.", status=500)
        if _is_running_here(loop):
            return call()
        return asyncio.run_coroutine_threadsafe(_call(call), loop).result(REMOVE_SECONDS)

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        loop = self.loop
        if loop is None or loop.is_closed():
            work.close()  # nothing was ever invoked
        elif _is_running_here(loop):
            task = loop.create_task(work)  # a loop cannot wait for itself
            self._events.add(task)
            task.add_done_callback(self._events.discard)
        else:
            asyncio.run_coroutine_threadsafe(work, loop).result(REMOVE_SECONDS)

    def code_folder(self, name: str) -> Path:
        """Where a function's packages are kept."""
        return self.folder / "code" / name


def _spare_bounds(settings: Settings, idle_seconds: float) -> Bounds:
    """Spares last as long as warm environments, and at least so long that a load test finds them.

    None where they could not be started at idle priority: they would take the cores of the invocations they are for.
    """
    if not settings.keeps_spares or not can_come_back():
        return NO_SPARES
    return replace(SPARES, kept_seconds=max(SPARES.kept_seconds, idle_seconds))


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


async def _call(call: Callable[[], T]) -> T:
    return call()
