"""What a command runs in: which AWS, which Prefect server, which home; local ones are started or adopted.

Nothing here ever chooses real AWS: without an endpoint and without a named account, the embedded one is used.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kennel.servers import localaws, prefect, processes
from kennel.terminal import console
from kennel.terminal.journey import SERVERS
from tasks.run import machine
from tasks.run.errors import SettingsRefused
from tasks.run.settings import Settings, Target, is_loopback


@dataclass(frozen=True)
class Surroundings:
    """Where a command works."""

    home: Path
    runs: Path
    target: Target
    environment: Mapping[str, str]

    @property
    def description(self) -> str:
        """Which AWS it is, and what the embedded one runs on, in one line."""
        settings = Settings.load()
        return machine.measured_on(settings) + (f" at {settings.endpoint_url}" if settings.endpoint_url else "")


def home_and_runs() -> tuple[Path, Path]:
    """Return the directories that settings name, without deciding anything else.

    Raises:
        SettingsRefused: a setting is out of bounds.
    """
    settings = Settings.load()
    return settings.home, settings.runs


def wants_embedded_aws() -> bool:
    """Tell whether the command brings its own AWS: no account is named, and no endpoint but that of this home."""
    settings = Settings.load()
    if settings.endpoint_url is None:
        return settings.account_id is None
    own = localaws.find(settings.home)
    return own is not None and own.url == settings.endpoint_url


def bring_up(meanwhile: Callable[[], None], options: localaws.Options = localaws.AS_IT_IS) -> Surroundings:
    """Start or adopt what the command needs, both servers at the same time, and export their addresses to this process.

    `meanwhile` is called while Prefect's server starts, with the environment set: the place for slow imports.

    Raises:
        StageFailed, WaitTimedOut: a server did not come up.
        TargetRefused: an endpoint is named that is not on loopback.
        SettingsRefused: options of the embedded AWS cannot be given to the AWS that is named or runs.
    """
    home, runs = home_and_runs()
    embedded = wants_embedded_aws()
    if not embedded:
        Settings.load().target()  # refuses, before anything is started
        _refuse_options(options)
    console.stage(SERVERS, "begins")
    begun = time.perf_counter()
    aws_process = localaws.begin(home, options) if embedded else None
    server = None if "PREFECT_API_URL" in os.environ else prefect.begin(home)
    environment = {processes.OWNER_VARIABLE: processes.owner_of(home)}
    if server is not None:
        environment |= prefect.settings_for(home, server.url)
    os.environ.update(environment)
    meanwhile()
    if embedded:
        console.say("waiting for localaws")
        environment |= localaws.wait(home, aws_process).environment
    os.environ.update(environment)
    target = Settings.load().target()
    if server is not None:
        console.say("waiting for Prefect's server")
        prefect.wait(server)
    console.stage(SERVERS, "done", time.perf_counter() - begun)
    return Surroundings(home, runs, target, environment)


def import_flow(name: str) -> None:
    """Import a module of flows, and Prefect with it (2 to 3 s of CPU), telling what is waited for.

    Errors are shown once, by the command, so Prefect's console stays silent.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    console.say("importing Prefect and the flows")
    importlib.import_module(name)


def use_running() -> Surroundings | None:
    """Point this process at the AWS that is named, or at the embedded one if it runs; None when there is none."""
    home, runs = home_and_runs()
    environment: dict[str, str] = {}
    if wants_embedded_aws():
        running = localaws.find(home)
        if running is None:
            return None
        environment = running.environment
        os.environ.update(environment)
    return Surroundings(home, runs, Settings.load().target(), environment)


def take_down(home: Path) -> list[str]:
    """End the local servers and whatever they or a killed command left running; return what was ended."""
    ended = [name for name, stop in (("localaws", localaws.stop), ("Prefect's server", _stop_prefect)) if stop(home)]
    strays = processes.stop_strays(home)
    return ended + ([f"{len(strays)} stray processes"] if strays else [])


def is_local_endpoint(endpoint: str) -> bool:
    """Tell whether a ledger's endpoint is an embedded AWS."""
    return is_loopback(endpoint)


def _refuse_options(options: localaws.Options) -> None:
    if options.given:
        why = "they are for the embedded AWS that kennel starts, and another AWS is named"
        remedy = "unset AWS_ENDPOINT_URL KENNEL_ACCOUNT_ID"
        raise SettingsRefused("the embedded AWS", ", ".join(options.given), why, remedy)


def _stop_prefect(home: Path) -> bool:
    return processes.stop(home, prefect.NAME)
