"""What one stage hands to the next, and how it is kept: frozen dataclasses, one JSON file a stage.

`runs/<run id>/<stage>.json` is the only source of a report's figures. Files are written whole or not at all. Each kind
of record says in its class line which file it is kept in, what a person calls it, and which flow makes it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import TypeAdapter, ValidationError

from tasks.run.errors import LedgerRefused

SPLITS = ("train", "validation", "test")
Number = int | float
"""A count or a measure, for fields that hold either: a count is read and printed as a whole number."""


@dataclass(frozen=True)
class Record:
    """The base of every kind of record that is kept in a file of its own.

    `file` is the path of that file in the run's folder and may name fields ("ec2/instance-{number}.json"), `called` is
    what a message calls the record ("trained model"), and `made_by` is the flow that makes it.
    """

    file: ClassVar[str]
    called: ClassVar[str]
    made_by: ClassVar[str]

    def __init_subclass__(cls, *, file: str, called: str, made_by: str) -> None:
        """Take what the class line says of the kind of record."""
        super().__init_subclass__()
        cls.file, cls.called, cls.made_by = file, called, made_by


@dataclass(frozen=True)
class DatasetRef(Record, file="stage_data.json", called="staged dataset", made_by="stage_data"):
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
class WeightsRef(Record, file="weights.json", called="backbone weights", made_by="train_sagemaker"):
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

    backbone: str
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
class TrainedModel(Record, file="train_sagemaker.json", called="trained model", made_by="train_sagemaker"):
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
class InstanceModel(Record, file="train_ec2.json", called="model trained on EC2", made_by="train_ec2"):
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
class EndpointRef(Record, file="endpoint.json", called="endpoint", made_by="deploy"):
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
class InstanceRef(Record, file="ec2/instance-{number}.json", called="EC2 instance", made_by="train_ec2"):
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
class FunctionRef(Record, file="function.json", called="function", made_by="deploy"):
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
class LoadReport(Record, file="loadtest.json", called="load test", made_by="loadtest"):
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


Kept = TypeVar("Kept", bound=Record)


def record_path(folder: Path, kind: type[Record], /, **fields: object) -> Path:
    """Return the file of a kind of record in a folder; `fields` are those that the file's name has."""
    return folder / kind.file.format(**fields)


def save_record(folder: Path, record: Record) -> Path:
    """Write a record to its file in a folder, mode 0600, whole or not at all; return its path."""
    content = {"record": type(record).__name__, **dataclasses.asdict(record)}
    path = record_path(folder, type(record), **vars(record))
    write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
    return path


def load_record(folder: Path, kind: type[Kept], /, **fields: object) -> Kept | None:
    """Read the record of a kind from its file in a folder, or None when there is no such file.

    A field that has a default may be absent, because an older release may not have known it. Types are checked without
    conversion, except that a whole number is taken for a float.

    Raises:
        LedgerRefused: the file is no JSON or another record's, or a field is missing, unknown or of a wrong type.
    """
    path = record_path(folder, kind, **fields)
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict) or content.pop("record", None) != kind.__name__:
            raise ValueError(f"it is not the record of a {kind.__name__}")
        return _adapter(kind).validate_json(json.dumps(content), strict=True, extra="forbid")
    except ValidationError as error:
        raise _refused(path, kind, _first_problem(error)) from error
    except ValueError as error:
        raise _refused(path, kind, str(error)) from error


def forget_record(folder: Path, kind: type[Record], /, **fields: object) -> None:
    """Remove the file of a kind of record from a folder, if there is one."""
    record_path(folder, kind, **fields).unlink(missing_ok=True)


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


_adapters: dict[str, TypeAdapter[Any]] = {}


def _adapter(kind: type[Kept]) -> TypeAdapter[Kept]:
    """Return what checks and builds a kind of record; making it takes up to 20 ms, so it is made once."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name not in _adapters:
        _adapters[name] = TypeAdapter(kind)
    return _adapters[name]


def _first_problem(error: ValidationError) -> str:
    """Return which field is wrong, what is wrong with it, and what was read for it."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "the record"
    received = "" if first["type"] == "missing" else f", not {first['input']!r:.80}"
    return f"{field}: {first['msg']}{received}"


def _refused(path: Path, kind: type[Record], why: str) -> LedgerRefused:
    again = f"remove {path} and run the same command again"
    return LedgerRefused("records", f"{path} does not hold a {kind.__name__}", why, again)
