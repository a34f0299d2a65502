"""A step is a Prefect task of its name, with its function's own signature, that works in a thread; without a server."""

import asyncio
import importlib
import inspect
import pkgutil
import threading

import pytest
from prefect import Task
from prefect.cache_policies import NO_CACHE

import flows
from flows.step import step
from tasks.run.ending import refuse_when_ending
from tasks.run.errors import StageFailed, Unexpected

NAMES = {
    "flows.audit": {"look at the account", "report of the run"},
    "flows.pipeline": {"budget alarm", "evidence", "fetch weights", "limits of cost", "look at the account"},
    "flows.checked_loadtest": {"ladder", "scaling plan", "apply plan", "profile and verdicts"},
    "flows.deploy": {"earlier copies", "earlier canary", "network", "endpoint", "function", "smoke test", "approve"},
    "flows.drift": {"delete old photos", "look for drift"},
    "flows.loadtest": {"earlier canary", "choose images", "send requests"},
    "flows.notebook": {
        "notebook instances",
        "notebook instance",
        "start the notebook instance",
        "stop the notebook instance",
    },
    "flows.promote": {"earlier promotion", "version", "promotion", "rollback"},
    "flows.retrain": {"earlier promotion", "something to do", "locate", "limits of cost", "gate", "refuse"},
    "flows.stage_data": {"locate", "locate in S3", "find_unchanged", "adopt", "judge_and_upload", "stage by a job"},
    "flows.teardown": {"plan_removals", "keep_copies", "remove", "remove expired"},
    "flows.tune": {"fetch weights", "look at the account"},
    "flows.train_ec2": {"network", "weights", "plan EC2 training", "EC2 training", "evaluate", "compare"},
    "flows.train_sagemaker": {
        "evaluate",
        "key",
        "network",
        "weights",
        "plan training",
        "search by SageMaker",
        "study the search",
        "training job",
        "register",
    },
}


@step("add")
def add(first: int, *, second: int) -> tuple[int, str]:
    """Add two numbers, and say in which thread."""
    return first + second, threading.current_thread().name


def test_a_step_has_its_functions_signature_and_text_and_is_never_cached() -> None:
    assert isinstance(add, Task)
    assert (add.name, add.cache_policy, add.description) == (
        "add",
        NO_CACHE,
        "Add two numbers, and say in which thread.",
    )
    assert list(inspect.signature(add.fn).parameters) == ["first", "second"]


def test_the_work_of_a_step_is_done_in_a_thread_while_the_flow_awaits_it() -> None:
    assert isinstance(add, Task)
    total, thread = asyncio.run(add.fn(1, second=2))
    assert total == 3 and thread != threading.current_thread().name


@step("divide")
def divide(number: int) -> float:
    """Raise what no part of kennel foresees, or what one does."""
    if number < 0:
        raise StageFailed("divide", "it is negative", "no reason", "give another")
    return 1 / number


def test_what_a_step_raises_is_a_kennel_error_and_another_error_is_its_cause() -> None:
    assert isinstance(divide, Task)
    with pytest.raises(Unexpected, match="step 'divide': ZeroDivisionError: division by zero") as unexpected:
        asyncio.run(divide.fn(0))
    assert isinstance(unexpected.value.__cause__, ZeroDivisionError)
    with pytest.raises(StageFailed, match="it is negative"):
        asyncio.run(divide.fn(-1))


def test_every_step_has_the_name_by_which_prefect_showed_it() -> None:
    modules = [importlib.import_module(each.name) for each in pkgutil.iter_modules(flows.__path__, "flows.")]
    found = {
        module.__name__: {each.name for each in vars(module).values() if isinstance(each, Task)} for module in modules
    }
    assert {name: names for name, names in found.items() if names} == NAMES


def test_after_a_cancelled_step_this_process_may_still_create_something() -> None:
    begun, may_end = threading.Event(), threading.Event()

    @step("wait")
    def work() -> None:
        begun.set()
        may_end.wait(60)

    async def cancel() -> None:
        assert isinstance(work, Task)
        running = asyncio.ensure_future(work.fn())
        await asyncio.to_thread(begun.wait, 60)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancel())
    may_end.set()
    refuse_when_ending("role", "r")
