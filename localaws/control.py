"""The commands that act on a server from outside (start, stop, status, logs, reset), by boto3 and by signals."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from localaws import shell
from localaws.errors import AlreadyRunning, NotRunning, StartFailed, StopFailed
from localaws.folders import open_own
from localaws.process_tree import find_members
from localaws.processes import OWNER, PROCESS, ProcessTable
from localaws.record import ServerRecord, already_running, is_running, read_record, serve_command
from localaws.settings import Settings

START_SECONDS = 30.0
STOP_SECONDS = 20.0
LOG_TAIL_LINES = 20

Found = TypeVar("Found")


@dataclass(frozen=True)
class Process:
    """A child of the server, as `status` shows it."""

    pid: int
    command: str
    memory_bytes: int


@dataclass(frozen=True)
class FleetSpares:
    """What is kept ahead for a variant of an endpoint, as `/_localaws/spares` tells it."""

    endpoint: str
    variant: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Status:
    """What runs and what exists: processes as the kernel has them, resources as the server's own API lists them."""

    record: ServerRecord
    training_jobs: list[tuple[str, str]]
    processing_jobs: list[tuple[str, str]]
    endpoints: list[tuple[str, str]]
    functions: list[tuple[str, str]]
    instances: list[tuple[str, str]]
    spares: list[FleetSpares]
    processes: list[Process]


def start(settings: Settings) -> ServerRecord:
    """Start a server in the background and return when it answers.

    Raises:
        AlreadyRunning: one runs with this home.
        StartFailed: it ended, or did not answer within 30 seconds; the message ends with its log.
    """
    if record := read_record(settings.home):
        raise AlreadyRunning(already_running(settings.home, record))
    (settings.home / "logs").mkdir(parents=True, exist_ok=True)
    with open_own(_log_of(settings.home)) as log:
        log.truncate(0)
        server = subprocess.Popen(
            serve_command(settings),
            env={name: value for name, value in os.environ.items() if name not in (OWNER, PROCESS)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    record = _until(lambda: _answering(settings.home, server), START_SECONDS)
    if record is None:
        _end(server)
        raise StartFailed(f"localaws did not start within {START_SECONDS:.0f} s:\n{_log_tail(settings.home)}")
    return record


def stop(home: Path) -> ServerRecord | None:
    """Stop the server and everything that it or a killed predecessor left; return the record of the one that ran.

    Raises:
        StopFailed: a process outlives SIGKILL.
    """
    record = read_record(home)
    if record:
        _signal(record, signal.SIGTERM)
        if _until(lambda: not is_running(record) or None, STOP_SECONDS) is None:
            _signal(record, signal.SIGKILL)
            if _until(lambda: not is_running(record) or None, STOP_SECONDS) is None:
                raise StopFailed(f"the server (pid {record.pid}) did not end after SIGKILL")
    if (home / "processes").is_dir():
        ProcessTable(home / "processes", str(home.resolve())).reap_orphans()
    (home / "server.json").unlink(missing_ok=True)
    return record


def reset(home: Path) -> ServerRecord:
    """End everything that runs, forget all state, and have the same server answer again on the same port.

    Raises:
        NotRunning: no server runs with this home.
        StartFailed: it did not answer again within 30 seconds.
    """
    record = running(home)
    _signal(record, signal.SIGHUP)
    again = _until(lambda: _answers_anew(home, record), START_SECONDS)
    if again is None:
        raise StartFailed(f"localaws did not answer again within {START_SECONDS:.0f} s:\n{_log_tail(home)}")
    return again


def running(home: Path) -> ServerRecord:
    """Return the record of the server that runs.

    Raises:
        NotRunning: none does with this home.
    """
    record = read_record(home)
    if record is None:
        raise NotRunning(f"no localaws server runs with home {home}; start one: {shell.command('start', home)}")
    return record


def status(home: Path) -> Status:
    """Ask the server what it has, and the kernel what runs.

    Raises:
        NotRunning: no server runs with this home.
    """
    record = running(home)
    sagemaker, functions = client(record, "sagemaker"), client(record, "lambda")
    return Status(
        record=record,
        training_jobs=_listed(sagemaker, "list_training_jobs", "TrainingJobSummaries", "TrainingJob"),
        processing_jobs=_listed(sagemaker, "list_processing_jobs", "ProcessingJobSummaries", "ProcessingJob"),
        endpoints=_listed(sagemaker, "list_endpoints", "Endpoints", "Endpoint"),
        functions=[
            (function["FunctionName"], function.get("State", "Active"))
            for page in functions.get_paginator("list_functions").paginate()
            for function in page["Functions"]
        ],
        instances=_instances(record, home),
        spares=_spares(record),
        processes=_processes(home),
    )


def log_lines(home: Path, prefix: str, *, follow: bool, sleep: Callable[[float], None] = time.sleep) -> Iterator[str]:
    """Yield the lines of every log group whose name starts with `prefix`, by time; with `follow`, new ones for ever.

    Raises:
        NotRunning: no server runs with this home (any more).
    """
    seen: dict[tuple[str, str], str] = {}
    while True:
        yield from _new_lines(client(running(home), "logs"), prefix, seen)
        if not follow:
            return
        sleep(0.5)


def client(record: ServerRecord, service: str) -> Any:
    """Return a boto3 client for the server."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,
        endpoint_url=record.url,
        region_name=record.region,
        aws_access_key_id=record.access_key_id,
        aws_secret_access_key=record.secret_access_key,
        aws_session_token="",
        config=Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 2}),
    )


def _new_lines(logs: Any, prefix: str, seen: dict[tuple[str, str], str]) -> list[str]:
    events = []
    for group in _pages(logs, "describe_log_groups", "logGroups", **({"logGroupNamePrefix": prefix} if prefix else {})):
        for stream in _pages(logs, "describe_log_streams", "logStreams", logGroupName=group["logGroupName"]):
            names = (group["logGroupName"], stream["logStreamName"])
            for event in _unread(logs, names, seen):
                stamp = time.strftime("%H:%M:%S", time.localtime(event["timestamp"] / 1000))
                events.append((event["timestamp"], f"{stamp} {'/'.join(names)} {event['message']}"))
    return [line for _, line in sorted(events, key=lambda event: event[0])]


def _unread(logs: Any, names: tuple[str, str], seen: dict[tuple[str, str], str]) -> Iterator[dict[str, Any]]:
    while True:
        token = {"nextToken": seen[names]} if names in seen else {}
        page = logs.get_log_events(logGroupName=names[0], logStreamName=names[1], startFromHead=True, **token)
        if page["events"]:
            seen[names] = page["nextForwardToken"]
            yield from page["events"]
        else:
            return


def _pages(logs: Any, operation: str, member: str, **parameters: Any) -> list[dict[str, Any]]:
    return [item for page in logs.get_paginator(operation).paginate(**parameters) for item in page[member]]


def _listed(sagemaker: Any, operation: str, member: str, kind: str) -> list[tuple[str, str]]:
    pages = sagemaker.get_paginator(operation).paginate()
    return [(item[f"{kind}Name"], item[f"{kind}Status"]) for page in pages for item in page[member]]


def _instances(record: ServerRecord, home: Path) -> list[tuple[str, str]]:
    if not any((home / "instances").glob("i-*")):
        return []  # EC2 takes a second to be asked for the first time
    pages = client(record, "ec2").get_paginator("describe_instances").paginate()
    rows = [row for page in pages for reservation in page["Reservations"] for row in reservation["Instances"]]
    return [(row["InstanceId"], row["State"]["Name"]) for row in rows if row["State"]["Name"] != "terminated"]


def _spares(record: ServerRecord) -> list[FleetSpares]:
    with urllib.request.urlopen(f"{record.url}/_localaws/spares", timeout=10) as response:  # noqa: S310 http, ours
        told = json.load(response)
    return [
        FleetSpares(endpoint, variant, counts)
        for endpoint, variants in told.items()
        for variant, counts in variants.items()
    ]


def _processes(home: Path) -> list[Process]:
    found = []
    for process in find_members(OWNER, str(home.resolve()), set()):
        try:
            found.append(Process(process.pid, " ".join(process.cmdline()), process.memory_info().rss))
        except psutil.NoSuchProcess:
            continue
    return sorted(found, key=lambda process: process.pid)


def _answering(home: Path, server: subprocess.Popen[bytes]) -> ServerRecord | None:
    if server.poll() is not None:
        raise StartFailed(f"localaws ended with status {server.returncode}:\n{_log_tail(home)}")
    record = read_record(home)
    return record if record and _is_healthy(record) else None


def _answers_anew(home: Path, before: ServerRecord) -> ServerRecord | None:
    record = read_record(home)
    return record if record and record.started != before.started and _is_healthy(record) else None


def _is_healthy(record: ServerRecord) -> bool:
    try:
        with urllib.request.urlopen(f"{record.url}/_localaws/health", timeout=2) as response:  # noqa: S310 http, ours
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _until(attempt: Callable[[], Found | None], timeout_seconds: float) -> Found | None:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if (result := attempt()) is not None:
            return result
        time.sleep(0.02)
    return None


def _signal(record: ServerRecord, number: int) -> None:
    if is_running(record):
        os.kill(record.pid, number)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.kill()
    server.wait()


def _log_of(home: Path) -> Path:
    return home / "logs" / "server.log"


def _log_tail(home: Path) -> str:
    try:
        return "\n".join(_log_of(home).read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
    except FileNotFoundError:
        return "(there is no log)"
