"""Follows a tuning job to its end: says how many trials have ended, and the best objective so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.run.aws import Aws
from tasks.run.errors import NotFound, StageFailed, WaitTimedOut
from tasks.run.statuses import TUNING_JOB
from tasks.run.waiting import NOT_SHOWN_SECONDS, REAL_TIME, Patience, Waiting, look
from tasks.sagemaker.tuner import describe_tuning
from tasks.sagemaker.tuning_plan import OBJECTIVE

POLL_SECONDS = 1.0


def follow_tuning(aws: Aws, name: str, *, deadline_seconds: float, waiting: Waiting = REAL_TIME) -> Mapping[str, Any]:
    """Wait until the tuning job has ended and return its description.

    Raises:
        StageFailed: it failed or was stopped.
        WaitTimedOut: it had not ended after `deadline_seconds`; it still runs.
        NotFound: somebody deleted it.
        AwsFailed: SageMaker refused.
    """
    patience, said = Patience("tuning job", aws.target, waiting), ""

    def probe() -> tuple[Mapping[str, Any] | None, str]:
        nonlocal said
        found = _present(aws, name)
        state = progress_of(found)
        if state != said:
            said = state
            waiting.say(f"tuning job: {state}")
            patience.heard()
        return (found if TUNING_JOB.has_settled(found["HyperParameterTuningJobStatus"]) else None), state

    while True:
        ended, state = look(probe, is_new=patience.spent_seconds < NOT_SHOWN_SECONDS)
        if ended is not None:
            return _outcome(name, ended)
        spent = patience.spent_seconds
        if spent >= deadline_seconds:
            stop = aws.cli("sagemaker stop-hyper-parameter-tuning-job", hyper_parameter_tuning_job_name=name)
            why = f"{state}; the tuning job continues, and the same command follows it again"
            raise WaitTimedOut(f"tuning job {name}", f"waited {spent:.0f} s", why, stop)
        patience.pause(state, POLL_SECONDS, most_seconds=deadline_seconds - spent)


def progress_of(description: Mapping[str, Any]) -> str:
    """Return the counts of a tuning job's trials and its best objective, as a line."""
    counts = description.get("TrainingJobStatusCounters") or {}
    ended = {"completed": "Completed", "stopped": "Stopped", "failed": "NonRetryableError"}
    told = [f"{counts[field]} {word}" for word, field in ended.items() if counts.get(field)] or ["none has ended"]
    best = description.get("BestTrainingJob") or {}
    value = (best.get("FinalHyperParameterTuningJobObjectiveMetric") or {}).get("Value")
    lowest = "" if value is None else f", lowest {OBJECTIVE} {value:.4f}"
    status, running = description["HyperParameterTuningJobStatus"], counts.get("InProgress", 0)
    return f"{status}: trials: {', '.join(told)}, {running} running{lowest}"


def _present(aws: Aws, name: str) -> Mapping[str, Any]:
    description = describe_tuning(aws, name)
    if description is None:
        raise NotFound(f"tuning job {name}", "it is gone", "somebody deleted it", "run the same command again")
    return description


def _outcome(name: str, description: Mapping[str, Any]) -> Mapping[str, Any]:
    status = description["HyperParameterTuningJobStatus"]
    if TUNING_JOB.is_ready(status):
        return description
    why = str(description.get("FailureReason") or "somebody stopped it")
    raise StageFailed(
        f"tuning job {name}",
        f"it ended {progress_of(description)}",
        why,
        "run the same command again, which makes another",
    )
