"""The stage that makes the head: one fit, or a search whose first trial is that fit."""

from dataclasses import replace
from typing import Any

from training.embed import Embeddings, Plan
from training.engines import one_thread
from training.failures import TrainingFailure
from training.fit import FitResult, Schedule, copied
from training.heads import HeadRows, HeadTask
from training.job import Job
from training.search import Search, choose_hyperparameters
from training.search_space import HEAD_SPACE
from training.stages import make_fit
from training.trial_models import HeadTrials
from training.trials import COMPLETE, FAILED, Trial

FittedHead = tuple[HeadTask, FitResult]


def make_head(
    job: Job, training: Embeddings, validation: Embeddings, plan: Plan
) -> tuple[HeadTask, FitResult, dict[str, Any] | None]:
    """Fit the head; with trials, search for better hyperparameters and fit it anew if there are some.

    Returns the head, its fit, and the search as JSON, None without one. With fine-tuning, the search is not this one.

    Raises:
        TrainingFailure, Interrupted: as `Fit.run` and `Search.run`.
    """
    chosen = job.config.hyperparameters
    if not chosen.trials or chosen.finetune:
        with job.phase("fit"), one_thread():
            return *fit_head(job, training, validation, plan), None
    with job.phase("fit"), one_thread():
        head, default = _default(job, training, validation, plan)
    default = replace(default, seconds=job.seconds["fit"])
    with job.phase("search"), one_thread():
        trials = HeadTrials(training, validation, job.manifest.classes, job.world, job.interrupted)
        search = choose_hyperparameters(Search.of(job, HEAD_SPACE, trials, repr(plan), default))
        if head is None or search["winner"]:
            head = fit_head(job, training, validation, plan, stage="best-head")
    return *head, {**search, "seconds": job.seconds["search"]}


def fit_head(job: Job, training: Embeddings, validation: Embeddings, plan: Plan, stage: str = "head") -> FittedHead:
    """Fit the head on the embeddings in float64, on rank 0; every rank gets its weights.

    Raises:
        TrainingFailure, Interrupted: as `Fit.run`.
    """
    hyperparameters, world = job.config.hyperparameters, job.world
    task = HeadTask.of(HeadRows.of(training, world.device), len(job.manifest.classes), hyperparameters, world)
    fitted = make_fit(job, task.head, task.optimizer(), plan, stage=stage, shares_batches=False).run(
        Schedule(hyperparameters.epochs, hyperparameters.patience),
        batches=task.batches,
        evaluate=task.evaluator(validation),
    )
    task.head.load_state_dict(world.broadcast(lambda: copied(task.head)))
    return task, fitted


def _default(job: Job, training: Embeddings, validation: Embeddings, plan: Plan) -> tuple[FittedHead | None, Trial]:
    """Fit the head with the job's own hyperparameters: trial 0, of which the search knows the hyperparameters."""
    try:
        task, fitted = fit_head(job, training, validation, plan)
    except TrainingFailure as failure:
        return None, Trial(0, {}, FAILED, reason=str(failure))
    best = fitted.validation
    trial = Trial(
        number=0,
        parameters={},
        state=COMPLETE,
        losses=fitted.losses,
        loss=best.loss,
        accuracy=best.accuracy,
        images=best.images,
        sample_losses=job.world.broadcast(lambda: task.sample_losses(validation)),
    )
    return (task, fitted), trial
