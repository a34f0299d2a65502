"""Makes a plain function of `tasks` a Prefect task that a flow awaits: it runs in a thread and is never cached.

The thread is a daemon, so that an interrupted flow does not wait for its work: asyncio's own threads are joined, and
Prefect's handling of SIGTERM would last as long as the training.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.runner import is_of_a_runner
from tasks.run.disk import disk_boundary
from tasks.run.ending import stop_work
from tasks.run.errors import KennelError, unexpected

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Work = Callable[Arguments, Result]
Step = Callable[Arguments, Coroutine[Any, Any, Result]]

EXIT_SECONDS = 2.0
"""How long an interrupted flow run's process may take to exit by itself, after its states have been reported."""


def step(name: str) -> Callable[[Work[Arguments, Result]], Step[Arguments, Result]]:
    """Make a plain function a step: the flow awaits it with the function's own arguments and gets its result.

    `name` is what Prefect shows. Works as a decorator, and on a function of `tasks`:
    `train = step("training job")(train_on_sagemaker)`.

    The step raises what the function raises; what is no `KennelError` becomes one, with its cause.
    """

    def in_thread(work: Work[Arguments, Result]) -> Step[Arguments, Result]:
        @functools.wraps(work)
        async def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            try:
                with disk_boundary(name):
                    return await asyncio.wrap_future(_begin(functools.partial(work, *args, **kwargs)))
            except asyncio.CancelledError:
                if is_of_a_runner():  # another process may go on with other flows, such as a notebook's
                    stop_work()
                    _exit_after(asyncio.get_running_loop())
                raise
            except KennelError:
                raise
            except Exception as error:
                raise unexpected(error, f"step {name!r}") from error

        return task(name=name, cache_policy=NO_CACHE)(call)

    return in_thread


def _begin(work: Callable[[], Result]) -> Future[Result]:
    """Start the work in a thread of its own, with the caller's context."""
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result = context.run(work)
        except BaseException as error:  # noqa: BLE001  the flow raises it
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="step", daemon=True).start()
    return future


def _exit_after(loop: asyncio.AbstractEventLoop) -> None:
    """End a flow run's process soon after its flow has ended; Python would first join the thread pools of the work."""

    def wait() -> None:
        while not loop.is_closed():
            time.sleep(0.05)
        time.sleep(EXIT_SECONDS)
        os._exit(0)  # as Prefect's own handling of a termination exits

    threading.Thread(target=wait, daemon=True).start()
