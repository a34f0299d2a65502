"""Checks a search space before anything is made, and reads what a training job's search found."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tasks.model.code import REPOSITORY
from tasks.run.errors import SettingsRefused, StageFailed, WaitTimedOut
from tasks.run.options import MOST_CHARACTERS, ModelOptions, TrainingOptions
from tasks.run.sealed import Damaged, parse_json, read_regular
from tasks.run.trials import Search

WHERE = "search"
CHECK_SECONDS = 60.0
DEFAULT_TRIALS = 20
"""Of a command whose purpose is the search."""
_OF_A_SEARCH = ("trials", "search_space", "search", "parallel_trials", "warm_start")
Searched = TypeVar("Searched", bound=ModelOptions)
_EXAMPLE = '{"learning_rate": {"low": 0.0001, "high": 0.01, "scale": "log"}, "batch_size": {"choices": [128, 256]}}'


def with_trials(model: Searched) -> Searched:
    """Return the options with the default number of trials, unless they name one."""
    return model if model.trials is not None else model.model_copy(update={"trials": DEFAULT_TRIALS})


def with_search_space(model: Searched) -> Searched:
    """Return the options with the JSON of a search space in the place of the file that holds it.

    Raises:
        SettingsRefused: the file cannot be read, is too long, or has no search space; or there is no trial.
        WaitTimedOut: the check did not end.
    """
    space = model.search_space
    if space is not None and not space.lstrip().startswith("{"):
        space = _read(Path(space))
    require_search_space(space, model.trials)
    return model.model_copy(update={"search_space": space})


def _read(path: Path) -> str:
    try:
        text = read_regular(path).decode().strip()
    except (OSError, ValueError, Damaged) as error:
        raise _refused(f"it is no JSON object, and no file that can be read: {error}") from error
    if len(text) > MOST_CHARACTERS:
        raise _refused(f"{path} has {len(text)} characters, and {MOST_CHARACTERS} are allowed")
    return text


def without_search(options: Searched, winner: Mapping[str, float]) -> Searched | None:
    """Return the options of a training with the winner's hyperparameters; None if no option takes such a value."""
    fields = type(options).model_fields
    off = {name: fields[name].default for name in _OF_A_SEARCH if name in fields}
    try:
        return type(options).of(options, **{**winner, **off})
    except ValidationError:
        return None


def of_the_winner(options: Searched, search: Search | None) -> Searched:
    """Return the options with which a training comes to the winner's model, without searching again if it can."""
    return options if search is None else without_search(options, search.best.parameters) or options


def require_search(training: TrainingOptions) -> None:
    """Refuse a search that the training job, or SageMaker's own tuner, would refuse, before anything is made.

    Raises:
        SettingsRefused: the space is refused, there is no trial, or SageMaker's tuner is to search what it cannot.
        WaitTimedOut: the check did not end.
    """
    require_search_space(training.search_space, training.trials)
    if training.search == "job":
        if training.warm_start is not None:
            raise SettingsRefused(WHERE, "--warm-start", "only SageMaker's tuner has it", "add --search sagemaker")
        return
    if training.trials is None:
        raise SettingsRefused(WHERE, "--search", "nothing is searched without --trials", "add --trials 20")
    if training.finetune:
        why = "SageMaker's tuner searches heads on embeddings, and --finetune trains whole networks"
        raise SettingsRefused(WHERE, "--search sagemaker", why, "leave one of the two out")


def require_search_space(space: str | None, trials: int | None) -> None:
    """Refuse a search space that the training job would refuse, before anything is made.

    Raises:
        SettingsRefused: it is refused, or there is a space and no trial.
        WaitTimedOut: the check did not end.
    """
    if space is None:
        return
    if trials is None:
        raise SettingsRefused(WHERE, "--search-space", "nothing is searched without --trials", "add --trials 20")
    search_space(space)


@functools.cache
def search_space(space: str | None) -> Mapping[str, Any]:
    """Return a search space, by default that of heads, as the training job reads it: JSON by name.

    Raises:
        SettingsRefused: the training job would refuse it.
        WaitTimedOut: the check did not end.
    """
    command = [sys.executable, "-P", "-m", "training.search_space", *([] if space is None else [space])]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=CHECK_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise WaitTimedOut(
            WHERE, "the search space was not checked", str(error), "run the same command again"
        ) from error
    except (ValueError, OSError) as error:  # a NUL in it, or more than a command line holds
        raise _refused(str(error)) from error
    if done.returncode != 0:
        raise _refused(done.stderr.strip()[-500:])
    found: Mapping[str, Any] = parse_json(done.stdout)
    return found


def _refused(why: str) -> SettingsRefused:
    return SettingsRefused(WHERE, "--search-space", why, f"the form is {_EXAMPLE}")


def search_of(meta: Mapping[str, Any]) -> Search | None:
    """Return the search that a model's meta.json tells, None without one.

    Raises:
        StageFailed: what it tells is no search, or its winner is not the trial of the lowest loss.
    """
    if meta.get("search") is None:
        return None
    try:
        search = TypeAdapter(Search).validate_python(meta["search"])
        best = search.best.number
    except (ValidationError, ValueError) as error:
        raise StageFailed(WHERE, "meta.json has no readable search", str(error)[:500], "kennel logs") from error
    if best != search.winner:
        why = f"it names trial {search.winner}, and the lowest loss is that of trial {best}"
        raise StageFailed(WHERE, "the job chose another trial than the best", why, "kennel logs")
    return search
