"""Define the records that one stage passes to the next.

Each record is a frozen dataclass, stored as one JSON file of the run (`tasks.run.record_store`). These files are the
only source of a report's figures.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator

from tasks.run.record_store import Amount, Count, Record, Share
from tasks.run.trials import Search

SPLITS = ("train", "validation", "test")
Number = int | float
"""A count or a measurement, for fields that hold either; a count is stored and printed as an integer."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file that is left out, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class StagingAttempt:
    """A staging job that has ended, and how long AWS bills each of its instances; 0 for one that never started."""

    job_name: str
    status: str
    instance_type: str
    instance_count: Count
    seconds: Amount


@dataclass(frozen=True)
class StagingJobs(Record, file="staging-jobs.json", called="staging jobs", made_by="stage_data"):
    """The jobs of a run that staged data and have ended, also those that failed, in the order of their creation."""

    attempts: tuple[StagingAttempt, ...]


@dataclass(frozen=True)
class DatasetRef(Record, file="stage_data.json", called="staged dataset", made_by="stage_data"):
    """A staged dataset: s3://{bucket}/{prefix}/{train,validation,test}/shard-*.tar and manifest.json, written last.

    `quarantined`, `left_out` (its first files, with reasons) and `warnings` are the findings in this run's source. The
    manifest has those of the source that was staged first, which may have been another one with the same images.
    `notes` tell what was found without being wrong, such as splits that were made. `options` is the JSON of the
    `DataOptions` that differ from the defaults.
    """

    bucket: str
    prefix: str
    digest: str
    name: str
    classes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, Count]]
    size_bytes: Count
    quarantined: Count
    source: str
    shards: Mapping[str, Count] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    left_out: tuple[Quarantined, ...] = ()
    notes: tuple[str, ...] = ()
    options: str = "{}"

    @property
    def resources(self) -> tuple[tuple[str, str], ...]:
        """The dataset's prefix."""
        return (("s3-prefix", f"{self.uri}/"),)

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
        """Return the number of images of a split, or of all splits."""
        splits = [split] if split else list(self.counts)
        return sum(sum(self.counts[name].values()) for name in splits)


@dataclass(frozen=True)
class WeightsRef(Record, file="weights.json", called="backbone weights", made_by="train_sagemaker"):
    """Backbone weights at s3://{bucket}/{prefix}/backbone.safetensors."""

    bucket: str
    prefix: str
    backbone: str
    sha256: str
    size_bytes: Count

    @property
    def uri(self) -> str:
        """The S3 prefix of a training job's `weights` channel, with a slash at its end."""
        return f"s3://{self.bucket}/{self.prefix}/"


@dataclass(frozen=True)
class Hyperparameters:
    """The arguments of training/train.py; None means the script's default."""

    backbone: str
    epochs: int | None = None
    views: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    dropout: float | None = None
    label_smoothing: float | None = None
    head_width: int | None = None
    patience: int | None = None
    seed: int = 0
    finetune: bool = False
    finetune_learning_rate: float | None = None
    trials: int | None = None
    search_space: str | None = None

    @property
    def requirements(self) -> str:
        """The file of packages that the script needs, by its path in the code."""
        return "training/requirements.txt" if self.trials is None else "training/requirements-search.txt"

    @property
    def arguments(self) -> dict[str, Any]:
        """The script's arguments by name, without those that are None or False, which have the script's default."""
        chosen = {name.replace("_", "-"): value for name, value in dataclasses.asdict(self).items()}
        return {name: value for name, value in chosen.items() if value is not None and value is not False}


def _bounded(metrics: Mapping[str, float]) -> Mapping[str, float]:
    """Return metrics whose shares are from 0 to 1 and whose counts and times are at least 0; a loss may be any number.

    Raises:
        ValueError: a value is out of these bounds.
    """
    for name, value in metrics.items():
        most = next((most for ending, most in _MOST.items() if name.endswith(ending)), None)
        if most is not None and not (0 <= value <= most and math.isfinite(value)):
            raise ValueError(f"{name} has to be a number from 0 to {most:g}, not {value}")
    return metrics


_MOST = {"accuracy": 1.0, "images": math.inf, "seconds": math.inf}
Metrics = Annotated[Mapping[str, float], AfterValidator(_bounded)]
"""What a training measured, by name; known kinds of values have bounds."""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What is recorded of a model wherever it was trained; `test_accuracy` is a fraction of `test_images`."""

    model_uri: str
    backbone: str
    classes: tuple[str, ...]
    test_accuracy: Share
    test_images: Count
    metrics: Metrics
    instance_type: str
    instance_count: Count
    instance_reason: str
    spot: bool
    cost_usd: Amount | None
    data_digest: str
    git_commit: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedModel(
    TrainingResult, Record, file="train_sagemaker.json", called="trained model", made_by="train_sagemaker"
):
    """A model that a training job made; `billable_seconds` is the time that AWS bills for each instance.

    `search` is how the hyperparameters were chosen, None without a search; `search_billable_seconds` are those of the
    jobs of SageMaker's own tuner, which are billed beside the training.
    """

    job_name: str
    job_arn: str
    seconds: Amount
    billable_seconds: Amount
    search: Search | None = None
    search_billable_seconds: Amount = 0.0

    @property
    def resources(self) -> tuple[tuple[str, str], ...]:
        """The run's prefix (s3://bucket/runs/id/), which holds the model."""
        return (("s3-prefix", "/".join([*self.model_uri.split("/")[:5], ""])),)


@dataclass(frozen=True, kw_only=True)
class InstanceModel(TrainingResult, Record, file="train_ec2.json", called="model trained on EC2", made_by="train_ec2"):
    """A model that was trained on EC2 instances over SSH, with its times and its cost.

    `seconds` maps a phase to its wall time; this machine measured launch, connect, ship, collect, store and terminate,
    and the first instance measured installing, fetching, training and packing. `wall_seconds` is the total.
    `billable_seconds` is summed over the instances. `refused` lists the requests that EC2 refused before ("type market:
    code"). `archive` and `log_files` are local paths.
    """

    name: str
    spec_digest: str
    model_sha256: str
    instance_ids: tuple[str, ...]
    refused: tuple[str, ...]
    interruptions: Count
    seconds: Mapping[str, Amount]
    wall_seconds: Amount
    billable_seconds: Amount
    prices: str
    command: tuple[str, ...]
    archive: str
    log_files: tuple[str, ...]


@dataclass(frozen=True)
class EndpointRef(Record, file="endpoint.json", called="endpoint", made_by="deploy"):
    """A live endpoint and its model; `created` (UTC, ISO 8601) distinguishes it from an earlier one of this name.

    It keeps requests for `capture_days`; 0 if it keeps none.
    """

    name: str
    arn: str
    config_name: str
    model_name: str
    variant: str
    instance_type: str
    instance_count: Count
    model_uri: str
    seconds: Amount
    created: str = ""
    capture_days: Count = 0

    @property
    def resources(self) -> tuple[tuple[str, str], ...]:
        """The endpoint."""
        return (("endpoint", self.name),)


@dataclass(frozen=True)
class InstanceRef(Record, file="ec2/instance-{number}.json", called="EC2 instance", made_by="train_ec2"):
    """An EC2 instance of a run, and how to log in to it.

    `address` is the public address, or "" while the instance has none. `host_key` is the public key that the instance
    must show, and `login_key` is the path of the private key for the login. `launched` is UTC in ISO 8601.
    `usd_per_hour` is a list price, an estimate from it for spot, or None for a type without a known price. `refused`
    lists the requests that EC2 refused before this one ("type market: code").
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
    usd_per_hour: Amount | None
    reason: str
    refused: tuple[str, ...] = ()
    number: int = 1
    prices: str = ""


@dataclass(frozen=True)
class FunctionRef(Record, file="function.json", called="function", made_by="deploy"):
    """A published Lambda function; callers use `alias_arn`, never $LATEST, or the alias's `url` if it has one.

    `url_ceiling` is how many executions are reserved because the URL is open to anybody, None where it is not.
    """

    name: str
    arn: str
    version: str
    alias: str
    alias_arn: str
    role_name: str
    role_arn: str
    code_sha256: str
    endpoint_name: str
    url: str | None = None
    url_auth_type: str | None = None
    url_ceiling: int | None = None

    @property
    def resources(self) -> tuple[tuple[str, str], ...]:
        """The function, and the endpoint that it calls."""
        return (("function", self.name), ("endpoint", self.endpoint_name))


@dataclass(frozen=True)
class LoadReport(Record, file="loadtest.json", called="load test", made_by="loadtest"):
    """The figures of a load test. Latencies are in milliseconds; a percentile with too few samples is None.

    `requests` is the number of requests sent, each of which is `answered` (with success) or one of the `failures`.
    Percentiles are those of the answered requests, measured from the intended start. `asked_rps` is the rate that was
    set, and `intended_rps` is the rate that the arrival process drew. `concurrency` is rate x mean latency (Little's
    law). `generator_cpu` is the load of the busiest five seconds of a generator, in cores. `workers` is the number of
    other machines that sent the requests; `generator_machines` says which, and how far their clocks may differ.
    `requests_per_core` is the number of requests that a generator sent in a second of its processor's time.
    """

    target: str
    kind: str
    intended_rps: Amount
    achieved_rps: Amount
    seconds: Amount
    requests: Count
    failures: Count
    p50_ms: Amount | None
    p90_ms: Amount | None
    p99_ms: Amount | None
    max_ms: Amount | None
    is_valid: bool
    why_invalid: str | None
    files: Mapping[str, str]
    time_scale: float = 1.0
    answered: Count = 0
    unsent: Count = 0
    asked_rps: Amount | None = None
    warm_up_requests: Count = 0
    p95_ms: Amount | None = None
    errors: Mapping[str, Count] = field(default_factory=dict)
    error_kinds: Mapping[str, Count] = field(default_factory=dict)
    why_failed: str | None = None
    concurrency: Amount | None = None
    lag_p99_ms: float | None = None
    generator_cpu: Amount = 0.0
    processes: Count = 1
    workers: Count = 0
    generator_machines: str = ""
    requests_per_core: Amount | None = None
    wall_seconds: Amount = 0.0
    hardware: str = ""
