"""Makes the record of a model that was trained on EC2: checks its metrics, stores it in S3, adds up time and cost."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tasks.account.objects import object_exists, send_file
from tasks.account.role_policies import run_prefix
from tasks.ec2.job import RemoteJob
from tasks.ec2.prices import MINIMUM_BILLED_SECONDS, cost_usd
from tasks.model.archive import METRIC_NAMES, measured_metrics, read_meta, verify_meta
from tasks.run.handle import Run
from tasks.run.numbers import SCIENTIFIC
from tasks.run.records import InstanceModel, InstanceRef


@dataclass
class Totals:
    """What all attempts of a training have taken so far: seconds by phase, refused types, interruptions and cost."""

    begun: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    interruptions: int = 0
    billable_seconds: float = 0.0
    cost_usd: float | None = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to the seconds of a phase."""
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - begun, 3)

    def bill(self, ref: InstanceRef, seconds: float) -> None:
        """Add the cost of an instance that ran for `seconds`; the cost is unknown once one price is."""
        self.billable_seconds += max(MINIMUM_BILLED_SECONDS, seconds)
        cost = cost_usd(ref.usd_per_hour, seconds)
        self.cost_usd = None if cost is None or self.cost_usd is None else self.cost_usd + cost


@dataclass(frozen=True)
class DownloadedModel:
    """A model that was downloaded from an instance, with the logs of all instances and the command that trained it."""

    archive: Path
    sha256: str
    logs: tuple[Path, ...]
    command: tuple[str, ...]


def find_model(run: Run, job: RemoteJob) -> InstanceModel | None:
    """Return the record of the model that an earlier command trained from the same plan, if the model is still in S3.

    Raises:
        AwsFailed: S3 refused.
        LedgerRefused: the record cannot be read.
    """
    found = run.find(InstanceModel)
    if found is None or found.spec_digest != job.spec_digest or not object_exists(run.aws, found.model_uri):
        return None
    return found


def checked_metrics(job: RemoteJob, model: DownloadedModel) -> dict[str, float]:
    """Return the model's metrics after comparing them with the dataset and with what the training printed.

    Raises:
        StageFailed: the archive is damaged or hostile, or it does not agree with the dataset or the log.
    """
    meta = read_meta(model.archive, str(model.archive))
    verify_meta(job.dataset, meta, _metrics_in(model.logs))
    return measured_metrics(meta)


def _metrics_in(logs: Sequence[Path]) -> dict[str, float]:
    """Return the last value of each metric in the logs, where `name=value` has a number."""
    text = "\n".join(log.read_text(errors="replace") for log in logs)
    found = {name: re.findall(rf"(?:^|\s){name}=({SCIENTIFIC})(?=\s|$)", text) for name in METRIC_NAMES}
    return {name: float(values[-1]) for name, values in found.items() if values}


def run_prefix_uri(job: RemoteJob) -> str:
    """Return the S3 URI of the run's folder in the bucket, with a slash at its end."""
    return f"s3://{job.dataset.bucket}/{run_prefix(job.run_id)}/"


def store_model(run: Run, job: RemoteJob, archive: Path) -> None:
    """Upload the model to S3, where SageMaker's models are too, so that it can be deployed.

    Raises:
        AwsFailed: S3 refused.
    """
    with run.ledger.create("s3-prefix", run_prefix_uri(job), None):
        send_file(run.aws, archive, job.dataset.bucket, job.model_key, "store the model in S3")


def model_record(
    job: RemoteJob, refs: Sequence[InstanceRef], totals: Totals, model: DownloadedModel, metrics: dict[str, float]
) -> InstanceModel:
    """Return the record of the model that the instances `refs` trained."""
    first = refs[0]
    return InstanceModel(
        name=job.name,
        spec_digest=job.spec_digest,
        model_uri=f"s3://{job.dataset.bucket}/{job.model_key}",
        model_sha256=model.sha256,
        backbone=job.hyperparameters.backbone,
        classes=job.dataset.classes,
        test_accuracy=metrics["test_accuracy"],
        test_images=int(metrics["test_images"]),
        metrics=metrics,
        instance_type=first.instance_type,
        instance_count=job.instance_count,
        instance_ids=tuple(ref.instance_id for ref in refs),
        instance_reason=first.reason,
        refused=tuple(totals.refused),
        spot=first.is_spot,
        interruptions=totals.interruptions,
        seconds=totals.seconds,
        wall_seconds=round(time.perf_counter() - totals.begun, 3),
        billable_seconds=round(totals.billable_seconds, 1),
        cost_usd=totals.cost_usd,
        prices=first.prices,
        data_digest=job.dataset.digest,
        command=model.command,
        archive=str(model.archive),
        log_files=tuple(str(log) for log in model.logs),
        git_commit=job.git_commit,
    )
