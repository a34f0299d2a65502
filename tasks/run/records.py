"""What one stage hands to the next, and how it is kept: frozen dataclasses, one JSON file a stage.

`runs/<run id>/<stage>.json` is the only source of a report's figures. Files are written whole or not at all.
"""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from tasks.run.errors import LedgerRefused

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class DatasetRef:
    """A staged dataset: s3://{bucket}/{prefix}/{train,validation,test}/shard-*.tar, manifest.json written last."""

    bucket: str
    prefix: str
    digest: str
    name: str
    classes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    size_bytes: int
    quarantined: int
    source: str
    shards: Mapping[str, int] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The S3 URI of the dataset's prefix, without a slash at its end."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def manifest_uri(self) -> str:
        """The S3 URI of the manifest."""
        return f"{self.uri}/manifest.json"

    def split_uri(self, split: str) -> str:
        """Return the S3 prefix of a split's shards ("train", "validation" or "test"), with a slash at its end."""
        return f"{self.uri}/{split}/"

    def images(self, split: str | None = None) -> int:
        """Return the number of images of a split, or of all of them."""
        splits = [split] if split else list(self.counts)
        return sum(sum(self.counts[name].values()) for name in splits)


@dataclass(frozen=True)
class WeightsRef:
    """Backbone weights at s3://{bucket}/{prefix}/backbone.safetensors."""

    bucket: str
    prefix: str
    backbone: str
    sha256: str
    size_bytes: int

    @property
    def uri(self) -> str:
        """The S3 prefix to give a training job as its `weights` channel, with a slash at its end."""
        return f"s3://{self.bucket}/{self.prefix}/"


@dataclass(frozen=True)
class Hyperparameters:
    """The arguments of training/train.py; None leaves the script's default."""

    backbone: str = "resnet50"
    epochs: int | None = None
    views: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    patience: int | None = None
    seed: int = 0
    finetune: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """The script's arguments by name; what is None or False is left to the script's default."""
        chosen = {name.replace("_", "-"): value for name, value in dataclasses.asdict(self).items()}
        return {name: value for name, value in chosen.items() if value is not None and value is not False}


@dataclass(frozen=True)
class TrainedModel:
    """A model that a training job made; accuracies are fractions, always with the number of images behind them."""

    job_name: str
    job_arn: str
    model_uri: str
    backbone: str
    classes: tuple[str, ...]
    test_accuracy: float
    test_images: int
    metrics: Mapping[str, float]
    instance_type: str
    instance_count: int
    instance_reason: str
    spot: bool
    seconds: float
    billable_seconds: float
    cost_usd: float | None
    data_digest: str
    git_commit: str | None = None


@dataclass(frozen=True)
class InstanceModel:
    """A model that was trained on EC2 instances over SSH, and what it took.

    `seconds` has a phase's wall time by name, as this side saw it (launch, connect, ship, collect, store, terminate) or
    as the first instance measured it (installing, fetching, training, packing); `wall_seconds` is all of it.
    `billable_seconds` are summed over the instances. `refused` names what EC2 would not launch first ("type market:
    code"). `archive` and `log_files` are local.
    """

    name: str
    spec_digest: str
    model_uri: str
    model_sha256: str
    backbone: str
    classes: tuple[str, ...]
    test_accuracy: float
    test_images: int
    metrics: Mapping[str, float]
    instance_type: str
    instance_count: int
    instance_ids: tuple[str, ...]
    instance_reason: str
    refused: tuple[str, ...]
    spot: bool
    interruptions: int
    seconds: Mapping[str, float]
    wall_seconds: float
    billable_seconds: float
    cost_usd: float | None
    prices: str
    data_digest: str
    command: tuple[str, ...]
    archive: str
    log_files: tuple[str, ...]
    git_commit: str | None = None


@dataclass(frozen=True)
class EndpointRef:
    """A live endpoint and what it runs; `created` (UTC, ISO 8601) tells it from an earlier one of the same name."""

    name: str
    arn: str
    config_name: str
    model_name: str
    variant: str
    instance_type: str
    instance_count: int
    model_uri: str
    seconds: float
    created: str = ""


@dataclass(frozen=True)
class InstanceRef:
    """An EC2 instance of a run and how to get into it.

    `address` is public and "" while the instance has none; `host_key` is the public line that it must answer with, and
    `login_key` the path of the private key that lets us in. `launched` is UTC in ISO 8601. `usd_per_hour` is a list
    price, for spot an estimate from it, None for a type without a known price. `refused` names what EC2 would not
    launch before this one ("type market: code").
    """

    instance_id: str
    address: str
    private_address: str
    port: int
    user: str
    instance_type: str
    is_spot: bool
    host_key: str
    login_key: str
    launched: str
    usd_per_hour: float | None
    reason: str
    refused: tuple[str, ...] = ()
    number: int = 1
    prices: str = ""


@dataclass(frozen=True)
class FunctionRef:
    """A published Lambda function; callers use `alias_arn`, never $LATEST."""

    name: str
    arn: str
    version: str
    alias: str
    alias_arn: str
    role_name: str
    role_arn: str
    code_sha256: str
    endpoint_name: str


@dataclass(frozen=True)
class LoadReport:
    """What a load test saw; latencies in milliseconds, None where there were too few samples for the percentile.

    `requests` were sent and are `answered` (with success) or `failures`; percentiles are of the answered ones, from the
    intended start. `intended_rps` is what the arrival process drew, `asked_rps` the rate that was set. `concurrency` is
    Little's law, rate x mean latency; `generator_cpu` the busiest five seconds of a generator, in shares of a core.
    """

    target: str
    kind: str
    intended_rps: float
    achieved_rps: float
    seconds: float
    requests: int
    failures: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    is_valid: bool
    why_invalid: str | None
    files: Mapping[str, str]
    time_scale: float = 1.0
    answered: int = 0
    unsent: int = 0
    asked_rps: float | None = None
    warm_up_requests: int = 0
    p95_ms: float | None = None
    errors: Mapping[str, int] = field(default_factory=dict)
    error_kinds: Mapping[str, int] = field(default_factory=dict)
    why_failed: str | None = None
    concurrency: float | None = None
    lag_p99_ms: float | None = None
    generator_cpu: float = 0.0
    processes: int = 1
    wall_seconds: float = 0.0
    hardware: str = ""


Record = TypeVar("Record")


def save_record(run_dir: Path, stage: str, record: object) -> Path:
    """Write a stage's record as runs/<id>/<stage>.json, mode 0600, whole or not at all; return its path."""
    if not dataclasses.is_dataclass(record) or isinstance(record, type):
        raise TypeError(f"a record is an instance of a dataclass, not {type(record).__name__}")
    content = {"record": type(record).__name__, **dataclasses.asdict(record)}
    path = run_dir / f"{stage}.json"
    write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
    return path


def load_record(run_dir: Path, stage: str, kind: type[Record]) -> Record | None:
    """Read a stage's record, or None when the stage was not finished.

    Raises:
        LedgerRefused: the file holds another record, or lacks a field (an older release wrote it).
    """
    path = run_dir / f"{stage}.json"
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_bytes())
        if content.pop("record") != kind.__name__:
            raise ValueError(f"not a {kind.__name__}")
        return cast(Record, _build(kind, content))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{path} does not hold a {kind.__name__}"
        raise LedgerRefused("records", what, str(error), f"remove {path} and run the same command again") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 by way of a temporary one, fsynced, so that no half file is ever seen."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _build(kind: Any, value: Any) -> Any:
    """Rebuild tuples and nested dataclasses, which JSON keeps as lists and objects."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _build(hints.get(name), item) for name, item in value.items()})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, types.UnionType}:
        return None if value is None else _build(next(a for a in arguments if a is not type(None)), value)
    if origin is tuple and isinstance(value, list):
        return tuple(_build(arguments[0], item) for item in value)
    if origin is list and isinstance(value, list):
        return [_build(arguments[0], item) for item in value]
    if origin in {dict, Mapping} and isinstance(value, dict):
        return {key: _build(arguments[1], item) for key, item in value.items()}
    return value
