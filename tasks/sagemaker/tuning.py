"""Searches by SageMaker's own tuner: embed the pictures once, run the tuning job, read and check what it found."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.run.handle import Run
from tasks.run.options import Machines
from tasks.run.trials import Search
from tasks.run.waiting import say
from tasks.sagemaker.job_plan import TrainingPlan
from tasks.sagemaker.training import PROVISIONING_SECONDS, completed_job
from tasks.sagemaker.tuner import KIND, create_tuning, find_tuning, tuning_arn
from tasks.sagemaker.tuning_plan import (
    FEATURES_FILE,
    TRIAL_FILE,
    TuningPlan,
    features_plan,
    features_uri_of,
    tuning_plan,
    with_winner,
)
from tasks.sagemaker.tuning_result import default_trial, read_search
from tasks.sagemaker.tuning_watch import follow_tuning


@dataclass(frozen=True)
class Searched:
    """The plan of the training with the winner's hyperparameters, the search, and the seconds billed for it."""

    plan: TrainingPlan
    search: Search
    billable_seconds: float


def search_on_sagemaker(run: Run, plan: TrainingPlan, machines: Machines) -> Searched:
    """Create or adopt the job that embeds and the tuning job, follow both, and check what the trials found.

    Raises:
        OwnershipRefused: a job of such a name was created from another plan.
        StageFailed: a job failed or was stopped, or what the trials left does not agree with it.
        WaitTimedOut: a job did not end within its limits.
        AwsFailed: AWS refused.
    """
    embedded = completed_job(run, features_plan(plan))
    features = features_uri_of(embedded)
    tuning = tuning_plan(plan, features, machines)
    billed = float(embedded.get("BillableTimeInSeconds") or 0.0)
    default = default_trial(run.aws, tuning, features.replace(FEATURES_FILE, TRIAL_FILE), billed)
    name = _started(run, tuning)
    description = follow_tuning(run.aws, name, deadline_seconds=tuning.seconds + PROVISIONING_SECONDS)
    search, seconds = read_search(run.aws, tuning, description, default)
    best = search.best
    say(f"tuning job {name}: trial {best.number} of {tuning.trials} has the lowest loss, {best.loss:.4f}")
    return Searched(with_winner(plan, best.parameters, tuning.features_uri), search, seconds)


def _started(run: Run, plan: TuningPlan) -> str:
    """Return the name of the tuning job, which runs or has ended."""
    found = find_tuning(run.aws, plan)
    if found.description is None:
        say(f"tuning job {found.name}: {plan.trials} trials, {plan.parallel} at a time")
        create_tuning(run, plan, found.name)
    else:
        status = found.description["HyperParameterTuningJobStatus"]
        say(f"tuning job {found.name}: adopted the job of an earlier command; it is {status}")
        run.ledger.adopt(KIND, found.name, tuning_arn(run.aws, found.name))
    return found.name
