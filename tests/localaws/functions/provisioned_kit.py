"""Functions with provisioned concurrency, and invocations that are held in the handler while a test looks on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.hearing import TELL, Ear, hearing
from tests.localaws import outer_pid
from tests.localaws.functions.functions_kit import Functions
from tests.polling import wait_until

HOLD = (
    TELL
    + """
import os
def handler(event, context):
    if event.get("exit"):
        os._exit(event["exit"])
    if "gate" in event:
        tell(event["gate"], context.aws_request_id)
    kind = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
    return {"type": kind, "pid": PID, "version": context.function_version}
""".replace("PID", outer_pid.WHO)
)
SLOW = "import time\ntime.sleep(0.8)\n" + HOLD


def make_alias(functions: Functions, source: str = HOLD, **config: Any) -> str:
    """Make a function whose alias `live` points to version 1; return its name."""
    name = functions.make(source, Publish=True, **config)
    functions.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    return name


def provision(functions: Functions, name: str, executions: int, qualifier: str = "live") -> Any:
    return functions.aws.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=executions
    )


def settled(functions: Functions, name: str, qualifier: str = "live") -> Any:
    """Wait until the configuration is READY or FAILED; return it."""

    def found() -> Any:
        shown = functions.aws.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        return shown if shown["Status"] != "IN_PROGRESS" else None

    return wait_until(found)


def counts(shown: Any) -> tuple[str, int, int, int]:
    """Return status, requested, allocated, available."""
    kinds = ("Requested", "Allocated", "Available")
    requested, allocated, available = (shown[f"{kind}ProvisionedConcurrentExecutions"] for kind in kinds)
    return shown["Status"], requested, allocated, available


class Held:
    """Invocations that stay in the handler until the gate is opened."""

    def __init__(self, functions: Functions, name: str, ear: Ear, threads: ThreadPoolExecutor) -> None:
        self._functions = functions
        self._name = name
        self._ear = ear
        self._threads = threads
        self.running: list[Any] = []

    def start(self, qualifier: str | None = "live") -> None:
        """Invoke once and return when the handler runs."""
        where = {} if qualifier is None else {"Qualifier": qualifier}
        event = {"gate": self._ear.port}
        self.running.append(self._threads.submit(self._functions.invoke, self._name, event, **where))
        wait_until(lambda: len(self._ear.lines) == len(self.running))

    def refusal(self, qualifier: str | None = "live") -> Any:
        """Invoke once more and return the refusal."""
        where = {} if qualifier is None else {"Qualifier": qualifier}
        with pytest.raises(self._functions.aws.exceptions.TooManyRequestsException) as caught:
            self._functions.invoke(self._name, {}, **where)
        return caught.value.response

    def finish(self) -> list[Any]:
        """Open the gate and return what the handlers answered."""
        self._ear.gate.set()
        return [each.result(20)["Payload"] for each in self.running]


@contextmanager
def holding(functions: Functions, name: str) -> Iterator[Held]:
    with ThreadPoolExecutor(8) as threads, hearing(is_open=False) as ear:
        yield Held(functions, name, ear, threads)
