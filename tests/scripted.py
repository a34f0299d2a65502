"""An AWS whose answers a test writes down: it stands in where a real one takes minutes or cannot be made to fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from botocore.exceptions import ClientError

from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.command_line import aws_command
from tasks.run.handle import Run
from tasks.run.logical_aws import LogicalAws
from tasks.run.settings import EMBEDDED_AWS, Settings


class Scripted:
    """`tasks.run.aws.Aws` as far as a test needs it: clients by service, each a table of operation → function."""

    region = "us-east-1"
    account_id = "123456789012"
    endpoint = "aws"
    identity = LogicalAws("aws")
    target = EMBEDDED_AWS
    settings = Settings()

    def __init__(self, **services: Mapping[str, Callable[..., Any]]) -> None:
        self._services = services
        self.calls: list[str] = []

    def client(self, service: str) -> Any:
        return _Client(self._services.get(service, {}), self.calls)

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"

    def tags(self, run_id: str) -> dict[str, str]:
        return naming.tags(run_id)

    def tag_list(self, run_id: str) -> list[dict[str, str]]:
        return naming.tag_list(run_id)

    def cli(self, operation: str, **parameters: str | Sequence[str]) -> str:
        return f"aws {aws_command(operation, **parameters)}"

    @property
    def aws(self) -> Aws:
        """This, typed as what it stands in for."""
        return cast(Aws, self)

    def run(self, runs: Path, run_id: str = "r") -> Run:
        """Return a run on this account whose folder lies in `runs`."""
        self.settings = Settings(runs=runs)
        return Run(self.aws, run_id)


class _Client:
    def __init__(self, operations: Mapping[str, Callable[..., Any]], calls: list[str]) -> None:
        self._operations, self._calls = operations, calls

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            self._calls.append(operation)
            return self._operations[operation](**arguments)

        return call

    def get_paginator(self, operation: str) -> Any:
        answer = self._operations[operation]

        class Pages:
            def paginate(self, **arguments: Any) -> list[Any]:
                return [answer(**arguments)]

        return Pages()


def not_found(operation: str, code: str = "ValidationException") -> Callable[..., Any]:
    """Return an operation that says that the thing does not exist."""
    return refuses(operation, code, "Could not find it")


def refuses(operation: str, code: str, message: str) -> Callable[..., Any]:
    """Return an operation that fails with a code and message."""

    def call(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": message}}, operation)

    return call
