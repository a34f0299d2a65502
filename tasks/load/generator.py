"""Runs the load generator in a separate process and reads its results.

Locust patches the standard library for gevent, so it never runs in the process of a flow. A file passes the plan to it,
and it writes its figures to `runs/<id>/loadtest/loadtest.json`, next to Locust's HTML report and CSVs.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tasks.load.locust_process import (
    CONNECT_SECONDS,
    free_port,
    generators_elsewhere,
    generators_here,
    log_tail,
    run_locust,
)
from tasks.load.remote_workers import RemoteWorkers
from tasks.load.report import FILES, RETRY, STAGE, LoadTestIdentity, load_report_from, raise_if_invalid
from tasks.run.aws import Aws
from tasks.run.disk import failure_of_child
from tasks.run.errors import Inconclusive, OwnershipRefused, SettingsRefused, StageFailed
from tasks.run.logical_aws import is_lost
from tasks.run.own_files import remove_tree
from tasks.run.partitions import dns_suffix
from tasks.run.record_store import forget_record, save_record, write_atomically
from tasks.run.records import EndpointRef, FunctionRef, LoadReport
from tasks.run.sealed import parse_json, read_regular
from tasks.run.settings import Settings
from tasks.run.waiting import Say, say

_REACH_SECONDS = 5.0
_START_SECONDS = 60.0
"""The time that starting and ending Locust and its workers may take, in addition to the plan's time."""

_HOSTS = {"endpoint": "runtime.sagemaker", "function": "lambda"}


@dataclass(frozen=True)
class LoadStage:
    """A part of the test with one request rate. Figures of stages with the same `name` are reported together."""

    rate_per_second: float
    seconds: float
    name: str = ""


@dataclass(frozen=True)
class GeneratorOptions:
    """The options of a load test.

    `further_stages` follow the first stage, whose name is `first_name`. The warm-up runs at the first stage's rate and
    is not measured. A request waits at most `timeout_seconds` for bytes, and the whole test at most `drain_seconds` for
    late answers. `processes` generators of each machine share the rate. `time_scale` is that of localaws; it is only
    reported.
    """

    further_stages: tuple[LoadStage, ...] = ()
    first_name: str = ""
    warm_up_seconds: float = 2.0
    timeout_seconds: float = 70.0
    drain_seconds: float = 15.0
    max_connections: int = 1024
    processes: int = 1
    seed: int = 0
    time_scale: float = 1.0


def run_load_test(
    settings: Settings,
    run_dir: Path,
    *,
    target: EndpointRef | FunctionRef,
    images: Sequence[Path | str],
    rate_per_second: float,
    seconds: float,
    options: GeneratorOptions | None = None,
    workers: RemoteWorkers | None = None,
    say: Say = say,
) -> LoadReport:
    """Send requests at a set rate to an endpoint or through a function's alias; save and return the report.

    Requests arrive as a Poisson process of `rate_per_second` for `seconds`, each with one of the `images` (files; for a
    function also http(s) URLs). `say` receives a line at least every 10 s. The report and its record are saved before
    an error is raised, except when no request was sent. With `workers`, other machines send the requests.

    Raises:
        TargetRefused: the settings do not say clearly which AWS to use.
        OwnershipRefused: the target belongs to another account.
        SettingsRefused: a rate, time or image is out of bounds.
        StageFailed: the target accepts no connections, or no request succeeded.
        Inconclusive: the run is void because the generator was the bottleneck, or because a worker is missing.
        RemoteFailed: something went wrong on a worker's machine or on the way to it.
        Unreachable: the embedded AWS ended during the test; the generator was killed within seconds.
        WaitTimedOut: the generator did not end in time and was killed.
    """
    for kind in (LoadReport, LoadTestIdentity):
        forget_record(run_dir, kind)
    chosen = options or GeneratorOptions()
    stages = (LoadStage(rate_per_second, seconds, chosen.first_name), *chosen.further_stages)
    folder = run_dir.resolve() / STAGE
    aws = Aws(settings)
    if workers is not None:
        chosen = replace(chosen, processes=workers.generators)
    plan = generator_plan(aws, target, images, stages, chosen, folder, is_here=workers is None)
    remove_tree(folder)
    plan_path = folder / "plan.json"
    write_atomically(plan_path, json.dumps(plan, indent=1).encode())
    begun = time.perf_counter()
    code = _run(plan, plan_path, workers, _deadline(stages, chosen), say, partial(is_lost, aws.identity))
    content = _read_result(folder, code, workers)
    wall_seconds = time.perf_counter() - begun
    report = load_report_from(content, folder, time_scale=chosen.time_scale, wall_seconds=wall_seconds)
    save_record(run_dir, report)
    raise_if_invalid(report)
    return report


def generator_plan(
    aws: Aws,
    target: EndpointRef | FunctionRef,
    images: Sequence[Path | str],
    stages: Sequence[LoadStage],
    options: GeneratorOptions,
    folder: Path,
    *,
    is_here: bool = True,
) -> dict[str, Any]:
    """Check the target, the stages and the images; return the content of the plan file that the locustfile reads.

    `is_here`: whether this machine sends the requests.

    Raises:
        OwnershipRefused: the target belongs to another account.
        SettingsRefused: a rate, time or image is out of bounds.
        StageFailed: the target accepts no connections.
    """
    _check_bounds(stages)
    if is_here:
        _check_processes(options)
    address = _address(aws, target)
    _check_alive(address)
    return _plan(aws.settings, address, images, stages, options, folder)


@dataclass(frozen=True)
class _Address:
    kind: str
    name: str
    qualifier: str | None
    base_url: str
    region: str


def _address(aws: Aws, target: EndpointRef | FunctionRef) -> _Address:
    kind = "endpoint" if isinstance(target, EndpointRef) else "function"
    qualifier = None if isinstance(target, EndpointRef) else target.alias
    base_url = aws.settings.endpoint_url
    if base_url is None:
        require_owner(target.arn, aws.account_id)
        base_url = f"https://{_HOSTS[kind]}.{aws.region}.{dns_suffix(aws.region)}"
    return _Address(kind, target.name, qualifier, base_url.rstrip("/"), aws.region)


def require_owner(arn: str, account_id: str) -> None:
    """Refuse a target of an account other than the caller's.

    Raises:
        OwnershipRefused: the ARN names another account or no account.
    """
    owner = arn.split(":")[4] if arn.count(":") >= 5 else ""
    if owner != account_id:
        why = f"kennel tests only endpoints and functions of account {account_id}"
        raise OwnershipRefused(STAGE, f"the target is {arn}", why, "deploy your own target: kennel run")


def _check_bounds(stages: Sequence[LoadStage]) -> None:
    for stage in stages:
        if not (0 < stage.rate_per_second <= 1_000_000 and 0 < stage.seconds <= 86_400):
            why = "a rate is above 0 and at most 1,000,000 a second; a stage lasts more than 0 and at most 86,400 s"
            raise SettingsRefused(STAGE, str(stage), why, "choose a rate and a duration within these bounds")


def _check_processes(options: GeneratorOptions) -> None:
    cores = os.cpu_count() or 1
    if not 1 <= options.processes <= 4 * cores:
        why = f"{cores} cores can run 1 to {4 * cores} generators"
        raise SettingsRefused(STAGE, f"processes={options.processes}", why, "choose fewer processes")


def _check_alive(address: _Address) -> None:
    parts = urlsplit(address.base_url)
    where = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    try:
        socket.create_connection(where, timeout=_REACH_SECONDS).close()
    except OSError as error:
        what = f"{address.base_url} does not accept connections"
        raise StageFailed(
            STAGE, what, str(error), f"kennel status, then a GET of {address.base_url} by hand"
        ) from error


def _plan(
    settings: Settings,
    address: _Address,
    images: Sequence[Path | str],
    stages: Sequence[LoadStage],
    options: GeneratorOptions,
    folder: Path,
) -> dict[str, Any]:
    return {
        "target": asdict(address),
        "images": [_checked_image(image, address.kind) for image in images],
        "stages": [asdict(stage) for stage in stages],
        "warm_up_seconds": options.warm_up_seconds,
        "timeout_seconds": options.timeout_seconds,
        "drain_seconds": options.drain_seconds,
        "max_connections": options.max_connections,
        "processes": options.processes,
        "seed": options.seed,
        "result_path": str(folder / FILES["json"]),
        "is_local": not settings.target().has_profile_credentials,
    }


def _checked_image(image: Path | str, kind: str) -> str:
    if str(image).startswith(("http://", "https://")):
        if kind == "function":
            return str(image)
        raise SettingsRefused(STAGE, str(image), "an endpoint takes the image itself, not a URL", "use image files")
    if not Path(image).is_file():
        raise SettingsRefused(STAGE, str(image), "there is no such image file", "use image files that exist")
    return str(Path(image).resolve())


def _deadline(stages: Sequence[LoadStage], options: GeneratorOptions) -> float:
    planned = sum(stage.seconds for stage in stages) + options.warm_up_seconds + options.drain_seconds
    return planned + _START_SECONDS


def _run(
    plan: dict[str, Any],
    plan_path: Path,
    workers: RemoteWorkers | None,
    deadline_seconds: float,
    say: Say,
    is_aws_lost: Callable[[], bool],
) -> int:
    """Run Locust to its end, with its generators here or on other machines, and return its status."""
    folder = plan_path.parent
    if workers is None:
        generators = generators_here(plan["processes"])
        return run_locust(folder, plan_path, generators, deadline_seconds, say, is_aws_lost)
    port = free_port()
    generators = generators_elsewhere(workers.generators, port)
    with workers.joined(plan, port):
        return run_locust(folder, plan_path, generators, deadline_seconds + CONNECT_SECONDS, say, is_aws_lost)


def _read_result(folder: Path, code: int, workers: RemoteWorkers | None) -> dict[str, Any]:
    path = folder / FILES["json"]
    try:
        content: dict[str, Any] = parse_json(read_regular(path))
    except (OSError, ValueError) as error:
        if (full := failure_of_child(log_tail(folder), STAGE, path)) is not None:
            raise full from error
        if workers is not None and not path.exists() and workers.faults:
            void = f"not all {workers.generators} load generators began: {'; '.join(workers.faults)}"
            raise Inconclusive(STAGE, "the run is void", void, RETRY) from error
        what = f"the load generator ended with exit code {code} and without a result"
        raise StageFailed(STAGE, what, f"its log says: {log_tail(folder)}", f"see {folder}/{FILES['log']}") from error
    if workers is None:
        return content
    content["generator"] |= {"on": workers.label, "machines": workers.rows}
    if content["verdict"]["void"] or workers.voids:
        content["verdict"]["void"] += [*workers.voids, *workers.faults]
    write_atomically(path, json.dumps(content, indent=1).encode())
    return content
