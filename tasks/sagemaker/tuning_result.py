"""Reads what a tuning job found: checks every trial's job, finds the objective anew, and compares the best with AWS's.

The objective of a trial is the mean of the losses of all validation pictures, which the trial's artefact has. A trial
whose log told another one, or a best job that is not the one of the lowest, is an error.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.account.objects import bucket_and_key, fetch_object, read_object
from tasks.run.aws import Aws
from tasks.run.errors import StageFailed, aws_boundary
from tasks.run.model_archive import read_member
from tasks.run.sealed import parse_json
from tasks.run.statuses import TRAINING_JOB
from tasks.run.trials import COMPLETE, FAILED, PRUNED, Difference, Search, Trial
from tasks.sagemaker.job import describe_job
from tasks.sagemaker.job_plan import SPEC_VARIABLE
from tasks.sagemaker.result import reported_metrics
from tasks.sagemaker.tuning_plan import OBJECTIVE, TRIAL_FILE, TuningPlan

WHERE = "search"
TOLERANCE = 1e-5
"""The relative difference that is allowed between the objective in the log, which is rounded, and ours."""

RESAMPLES = 2000
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Found:
    """A trial, its job's name ("" for the default's), the losses of its validation pictures, and what is billed."""

    trial: Trial
    job_name: str
    sample_losses: tuple[float, ...]
    billable_seconds: float


def read_search(aws: Aws, plan: TuningPlan, description: Mapping[str, Any], default: Found) -> tuple[Search, float]:
    """Return the search of a completed tuning job, whose trial 0 is `default`, and the seconds billed for its jobs.

    Raises:
        StageFailed: a trial is of another plan, has no readable result or another objective than its job told; or
            SageMaker's best job is not the trial of the lowest objective.
        AwsFailed: AWS refused.
    """
    name = str(description["HyperParameterTuningJobName"])
    summaries = sorted(_summaries(aws, name), key=lambda each: (each["CreationTime"], each["TrainingJobName"]))
    with tempfile.TemporaryDirectory(prefix="kennel-trials-") as folder:
        found = [_found(aws, plan, number, each, Path(folder)) for number, each in enumerate(summaries, start=1)]
    _require_same_best(description, found)
    every = [default, *found]
    best = min((each for each in every if each.trial.state == COMPLETE), key=_rank)
    search = Search(
        objective="validation loss per sample",
        space={name: json.dumps(dimension) for name, dimension in plan.space.items()},
        seed=plan.training.hyperparameters.seed,
        winner=best.trial.number,
        against_default=_against_default(default, best, plan.training.hyperparameters.seed),
        trials=tuple(each.trial for each in every),
        seconds=max(0.0, (description["HyperParameterTuningEndTime"] - description["CreationTime"]).total_seconds()),
    )
    return search, sum(each.billable_seconds for each in every)


def default_trial(aws: Aws, plan: TuningPlan, uri: str, billable_seconds: float) -> Found:
    """Return the trial of the hyperparameters that would be used without a search, from the features' job (S3 URI).

    Raises:
        StageFailed: it is no readable trial.
        AwsFailed: S3 refused.
    """
    data = read_object(aws, *bucket_and_key(uri))
    if data is None:
        raise _refused(uri, "there is no such object")
    trial, samples = _read(data, 0, list(plan.space), uri)
    return Found(trial, "", samples, billable_seconds)


def _summaries(aws: Aws, name: str) -> Iterator[Mapping[str, Any]]:
    with aws_boundary(f"tuning job {name}"):
        pages = aws.client("sagemaker").get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
        for page in pages.paginate(HyperParameterTuningJobName=name):
            yield from page["TrainingJobSummaries"]


def _found(aws: Aws, plan: TuningPlan, number: int, summary: Mapping[str, Any], folder: Path) -> Found:
    name = str(summary["TrainingJobName"])
    job = describe_job(aws, name)
    if job is None or (job.get("Environment") or {}).get(SPEC_VARIABLE) != plan.spec_digest:
        raise _refused(f"trial {number}, {name}", "its training job is gone or of another plan")
    billed = float(job.get("BillableTimeInSeconds") or 0.0)
    if not TRAINING_JOB.is_ready(job["TrainingJobStatus"]):
        return Found(_ended_early(plan, number, summary, job), name, (), billed)
    uri, path = str(job["ModelArtifacts"]["S3ModelArtifacts"]), folder / f"{number}.tar.gz"
    fetch_object(aws, uri, path)
    trial, samples = _read(read_member(path, TRIAL_FILE, uri), number, list(plan.space), uri)
    path.unlink()
    _require_same_objective(name, trial, reported_metrics(job))
    _require_same_values(name, trial, summary)
    return Found(trial, name, samples, billed)


def _read(data: bytes, number: int, names: Sequence[str], label: str) -> tuple[Trial, tuple[float, ...]]:
    """Return a trial and the losses of its validation pictures, whose mean has to be the trial's loss."""
    try:
        given = parse_json(data)
        samples = tuple(float(loss) for loss in given["sample_losses"])
        loss = math.fsum(samples) / len(samples)
        trial = Trial(
            number=number,
            parameters={name: given["parameters"][name] for name in names},
            state=COMPLETE,
            losses=tuple(float(each) for each in given["losses"]),
            loss=float(given["loss"]),
            accuracy=float(given["accuracy"]),
            images=int(given["images"]),
            seconds=float(given["seconds"]),
        )
    except (ValueError, TypeError, KeyError, ZeroDivisionError, RecursionError) as error:
        raise _refused(label, f"it has no readable {TRIAL_FILE}: {type(error).__name__}: {error}") from error
    if not (math.isfinite(loss) and len(samples) == trial.images and _is_close(loss, trial.loss)):
        raise _refused(label, f"it says that its loss is {trial.loss}, and its {len(samples)} pictures have {loss}")
    return trial, samples


def _ended_early(plan: TuningPlan, number: int, summary: Mapping[str, Any], job: Mapping[str, Any]) -> Trial:
    """Return the trial of a job without a result: one that was stopped early, or failed."""
    is_failed = job["TrainingJobStatus"] == "Failed"
    told = reported_metrics(job).get(OBJECTIVE)
    loss = None if is_failed or told is None or not math.isfinite(told) else told
    values = summary.get("TunedHyperParameters") or {}
    return Trial(
        number=number,
        parameters={name: float(values[name]) for name in plan.space if name in values},
        state=FAILED if is_failed else PRUNED,
        losses=() if loss is None else (loss,),
        loss=loss,
        accuracy=None,
        images=0,
        seconds=float(job.get("TrainingTimeInSeconds") or 0.0),
        reason=str(job.get("FailureReason") or "")[:300] if is_failed else "",
    )


def _require_same_objective(name: str, trial: Trial, told: Mapping[str, float]) -> None:
    if OBJECTIVE not in told or not _is_close(told[OBJECTIVE], trial.loss):
        raise _refused(name, f"its log told an objective of {told.get(OBJECTIVE)}, and its pictures have {trial.loss}")


def _require_same_values(name: str, trial: Trial, summary: Mapping[str, Any]) -> None:
    for parameter, value in (summary.get("TunedHyperParameters") or {}).items():
        if not _is_close(float(value), trial.parameters.get(parameter)):
            why = f"SageMaker gave it {parameter} = {value}, and it trained with {trial.parameters.get(parameter)}"
            raise _refused(name, why)


def _require_same_best(description: Mapping[str, Any], found: Sequence[Found]) -> None:
    """Refuse a tuning job whose best job is not one of the trials of the lowest objective."""
    complete = [each for each in found if each.trial.state == COMPLETE]
    if not complete:
        counts = description.get("TrainingJobStatusCounters")
        raise _refused("the tuning job", f"no trial has a result: {counts}")
    lowest = min(complete, key=_rank)
    named = str((description.get("BestTrainingJob") or {}).get("TrainingJobName"))
    best = next((each for each in complete if each.job_name == named), None)
    if best is None or not _is_close(best.trial.loss, lowest.trial.loss):
        why = f"SageMaker's best job is {named}, and {lowest.job_name} has the lowest loss, {lowest.trial.loss}"
        raise _refused("the tuning job", why)


def _rank(found: Found) -> tuple[float, int]:
    return (math.inf if found.trial.loss is None else found.trial.loss, found.trial.number)


def _against_default(default: Found, winner: Found, seed: int) -> Difference:
    """Return the winner's mean loss minus the default's on the same pictures, with a bootstrap interval of 95 %."""
    differences = np.array(winner.sample_losses) - np.array(default.sample_losses)
    drawn = np.random.default_rng(seed).integers(0, len(differences), (RESAMPLES, len(differences)))
    low, high = np.percentile(differences[drawn].mean(axis=1), PERCENTILES)
    return Difference(difference=float(differences.mean()), low=float(low), high=float(high), images=len(differences))


def _is_close(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-9)


def _refused(what: str, why: str) -> StageFailed:
    return StageFailed(WHERE, f"{what} cannot be believed", why, "kennel logs")
