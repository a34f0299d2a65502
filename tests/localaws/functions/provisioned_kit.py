"""Functions with provisioned concurrency, and invocations that are held in the handler while a test looks on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.localaws.functions.functions_kit import Functions
from tests.polling import wait_until

HOLD = """
import os, pathlib, time
def handler(event, context):
    if event.get("exit"):
        os._exit(event["exit"])
    if "gate" in event:
        gate = pathlib.Path(event["gate"])
        (gate / context.aws_request_id).touch()
        while not (gate / "open").exists():
            time.sleep(0.01)
    kind = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
    return {"type": kind, "pid": os.getpid(), "version": context.function_version}
"""
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

    def __init__(self, functions: Functions, name: str, folder: Path, threads: ThreadPoolExecutor) -> None:
        self._functions = functions
        self._name = name
        self._folder = folder
        self._threads = threads
        self.running: list[Any] = []

    def start(self, qualifier: str | None = "live") -> None:
        """Invoke once and return when the handler runs."""
        where = {} if qualifier is None else {"Qualifier": qualifier}
        event = {"gate": str(self._folder)}
        self.running.append(self._threads.submit(self._functions.invoke, self._name, event, **where))
        wait_until(lambda: len(list(self._folder.iterdir())) == len(self.running))

    def refusal(self, qualifier: str | None = "live") -> Any:
        """Invoke once more and return the refusal."""
        where = {} if qualifier is None else {"Qualifier": qualifier}
        with pytest.raises(self._functions.aws.exceptions.TooManyRequestsException) as caught:
            self._functions.invoke(self._name, {}, **where)
        return caught.value.response

    def finish(self) -> list[Any]:
        """Open the gate and return what the handlers answered."""
        (self._folder / "open").touch()
        return [each.result(20)["Payload"] for each in self.running]


@contextmanager
def holding(functions: Functions, name: str, folder: Path) -> Iterator[Held]:
    folder.mkdir()
    with ThreadPoolExecutor(8) as threads:
        held = Held(functions, name, folder, threads)
        try:
            yield held
        finally:
            (folder / "open").touch()
