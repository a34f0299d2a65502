"""Turns a plain function into a step of a flow: a Prefect task that runs the function in a thread.

A thread is needed because the work blocks on AWS and would block the event loop. The flows are `async` because a
synchronous flow of Prefect 3.8 waits a second at its end. A step that cannot write to the disk raises
`DiskFailed`. Results are not cached: arguments such as AWS clients cannot be hashed, and the functions themselves adopt
what exists in AWS.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.run.disk import disk_boundary

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Work = Callable[Arguments, Result]
Step = Callable[Arguments, Coroutine[Any, Any, Result]]


def step(name: str) -> Callable[[Work[Arguments, Result]], Step[Arguments, Result]]:
    """Make a plain function a step: the flow awaits it with the function's own arguments and gets its result.

    `name` is what Prefect shows. Works as a decorator, and on a function of `tasks`:
    `train = step("training job")(train_on_sagemaker)`.
    """

    def in_thread(work: Work[Arguments, Result]) -> Step[Arguments, Result]:
        @functools.wraps(work)
        async def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            with disk_boundary(name):
                return await asyncio.to_thread(work, *args, **kwargs)

        return task(name=name, cache_policy=NO_CACHE)(call)

    return in_thread
