"""Makes the record of a trained model from a completed training job, after checking its artefact, metrics and data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.account.prices import cost_usd
from tasks.model.archive import measured_metrics, read_meta, verify_meta
from tasks.model.search import search_of
from tasks.run.aws import Aws
from tasks.run.errors import WaitTimedOut
from tasks.run.records import TrainedModel
from tasks.run.waiting import REAL_TIME, Waiting, say, wait_for
from tasks.sagemaker.job import describe_job
from tasks.sagemaker.job_plan import TrainingPlan


def read_result(plan: TrainingPlan, description: Mapping[str, Any], archive: Path) -> TrainedModel:
    """Return the record of a completed job whose model.tar.gz was downloaded to `archive`.

    Where SageMaker has told no metrics, those in the model's meta.json count, with a warning.

    Raises:
        StageFailed: the artefact is damaged or hostile, or it, the job's metrics and the data disagree.
    """
    uri = str(description["ModelArtifacts"]["S3ModelArtifacts"])
    meta = read_meta(archive, uri)
    reported = reported_metrics(description)
    if not reported:
        say(f"WARNING: SageMaker told no metrics of {description['TrainingJobName']}; those of meta.json are taken")
    verify_meta(plan.dataset, meta, reported or None)
    metrics = measured_metrics(meta)
    billable = float(description.get("BillableTimeInSeconds", description["TrainingTimeInSeconds"]))
    count = int(description["ResourceConfig"].get("InstanceCount", plan.instance_count))
    return TrainedModel(
        job_name=str(description["TrainingJobName"]),
        job_arn=str(description["TrainingJobArn"]),
        model_uri=uri,
        backbone=plan.hyperparameters.backbone,
        classes=tuple(meta["classes"]),
        test_accuracy=metrics["test_accuracy"],
        test_images=int(metrics["test_images"]),
        metrics=metrics,
        instance_type=plan.instance.instance_type,
        instance_count=count,
        instance_reason=plan.instance.reason,
        spot=plan.spot,
        seconds=max(0.0, (description["TrainingEndTime"] - description["CreationTime"]).total_seconds()),
        billable_seconds=billable,
        cost_usd=cost_usd(plan.instance.usd_per_hour, count, billable),
        data_digest=str(meta["data_digest"]),
        git_commit=meta.get("git_commit"),
        search=search_of(meta),
    )


def wait_for_metrics(aws: Aws, description: Mapping[str, Any], waiting: Waiting = REAL_TIME) -> Mapping[str, Any]:
    """Describe a completed job again until it has its metrics, which may come after its end, and return what it told.

    Without metrics for as long as CloudWatch may be late, the given description is returned.

    Raises:
        AwsFailed: SageMaker refused.
    """
    name, known = str(description["TrainingJobName"]), [description]

    def probe() -> tuple[Mapping[str, Any] | None, str]:
        found = known.pop() if known else describe_job(aws, name)
        return (found if found and reported_metrics(found) else None), "completed, without its final metrics"

    try:
        what, seconds = f"training job {name}", aws.target.metric_delay_seconds
        return wait_for(aws.target, what, probe, deadline_seconds=seconds, waiting=waiting)
    except WaitTimedOut:
        return description


def reported_metrics(description: Mapping[str, Any]) -> dict[str, float]:
    """Return the last value of each metric that SageMaker parsed from a job's log."""
    return {entry["MetricName"]: float(entry["Value"]) for entry in description.get("FinalMetricDataList", [])}
