"""How an environment's process is started: its command, its environment variables and its role's credentials."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from localaws.container_view import TMP, View
from localaws.containers import Program as Contained
from localaws.core import Core
from localaws.functions.deployment import Deployment
from localaws.partition import partition
from localaws.processes import Process

ON_DEMAND = "on-demand"
PROVISIONED = "provisioned-concurrency"  # what AWS_LAMBDA_INITIALIZATION_TYPE says
TASK_ROOT = "/var/task"  # as the function sees it, as on AWS


LIFETIME_SECONDS = 11 * 3600.0  # real; the role's credentials in the environment hold for 12 hours, as on AWS

PRINCIPAL = "lambda.amazonaws.com"


@dataclass(frozen=True)
class Launch:
    """What every environment is started with. `lifetime_seconds`: after so long it takes no more events.

    `clock` is the Unix time, as that of its credentials' end.
    """

    core: Core
    folder: Path
    executor: Executor
    lifetime_seconds: float = LIFETIME_SECONDS
    clock: Callable[[], float] = time.time


class HeldKey:
    """The access key of an environment that is started ahead: refused, and told to `on_use`, until it is released."""

    def __init__(self, on_use: Callable[[], None]) -> None:
        self._on_use = on_use
        self._release: Callable[[], None] = lambda: None

    def hold(self, core: Core, access_key_id: str) -> None:
        """Hold the key; to be called before the process has it."""
        core.credentials.hold(access_key_id, self._on_use)
        self._release = lambda: core.credentials.release(access_key_id)

    def release(self) -> None:
        """Let the key be used; nothing happens if it is not held."""
        self._release()


@dataclass(frozen=True)
class Program:
    """One environment's process before it is started. `port`: of its Runtime API; `output`: the file it prints to."""

    deployment: Deployment
    initialization_type: str
    log_stream: str
    folder: Path
    output: Path
    port: int

    def start(self, core: Core, held_key: HeldKey | None) -> Process:
        """Start the process with its role's credentials.

        Raises: NoSuchRole if the role is gone; OSError if no process can be made; StopFailed if localaws shuts down.
        """
        deployment = self.deployment
        settings, session = core.settings, f"{deployment.name}-{self.folder.name}"[:64]
        arn = f"arn:{partition()}:lambda:{settings.region}:{settings.account_id}:function:{deployment.name}"
        credentials = core.credentials.child_environment(deployment.role, session, PRINCIPAL, arn)
        if held_key is not None:
            held_key.hold(core, credentials["AWS_ACCESS_KEY_ID"])
        containers, tmp = core.containers, self.folder / "tmp"
        environment = {
            **_platform_environment(deployment, self.log_stream),
            **dict.fromkeys(("HOME", "TMPDIR"), containers.place(TMP, tmp)),
            "LAMBDA_TASK_ROOT": containers.place(TASK_ROOT, deployment.code_directory),
            "AWS_LAMBDA_INITIALIZATION_TYPE": self.initialization_type,
            **credentials,
            **deployment.environment,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.port}",
        }
        name = f"lambda {deployment.name}:{deployment.version}"
        runtime = [sys.executable, "-m", "awslambdaric", deployment.handler]
        view = View(self.folder / "root", {TMP: tmp}, {TASK_ROOT: deployment.code_directory}, home=core.settings.home)
        return containers.spawn(Contained(name, runtime, environment, deployment.code_directory, self.output), view)


def _platform_environment(deployment: Deployment, log_stream: str) -> dict[str, str]:
    """What Lambda itself sets for a function.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "_HANDLER": deployment.handler,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{deployment.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": deployment.name,
        "AWS_LAMBDA_FUNCTION_VERSION": deployment.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(deployment.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{deployment.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
    }
