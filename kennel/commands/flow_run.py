"""Runs a flow for a command: in a thread, while the main thread handles signals and watches Prefect's server.

Prefect takes SIGTERM over when a flow runs in the main thread, and turns it into an exception there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from kennel.commands.interrupted import own_runs_with_instances, server_pids
from kennel.servers.environment import Environment
from kennel.servers.prefect_watch import PrefectWatch
from kennel.signals import FLOW_THREAD
from kennel.terminal import console
from tasks.run.ending import stop_work
from tasks.run.errors import KennelError

LOOK_SECONDS = 0.5
Result = TypeVar("Result")


def run_flow(flow: Coroutine[Any, Any, Result], where: Environment) -> Result:
    """Run the coroutine of a flow to its end and return its result, or raise what it raises.

    Raises:
        StageFailed: Prefect's server ended and cannot be started again; the run's EC2 instances were terminated.
    """
    future: Future[Result] = Future()
    threading.Thread(target=_work, args=(flow, future), name=FLOW_THREAD, daemon=True).start()
    watch = PrefectWatch(where.home, console.say)
    while not wait([future], LOOK_SECONDS).done:
        try:
            watch.look()
        except (KennelError, OSError):
            _give_up(where)
            raise
    return future.result()


def _work(flow: Coroutine[Any, Any, Result], future: Future[Result]) -> None:
    try:
        future.set_result(asyncio.run(flow))
    except BaseException as error:  # noqa: BLE001  the main thread raises it
        future.set_exception(error)


def _give_up(where: Environment) -> None:
    """Prepare the end of the command while its flow runs: nothing more is created, its instances are terminated."""
    stop_work(keep=server_pids(where.home))
    from tasks.ec2.terminate import end_instances
    from tasks.run.handle import Run

    for name in own_runs_with_instances(where.runs):
        try:
            end_instances(Run.load(name))
        except KennelError as other:
            console.say(f"WARNING: {other}")
