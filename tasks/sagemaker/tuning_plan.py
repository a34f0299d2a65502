"""Plans a search by SageMaker's own tuner: one job embeds the pictures, and each trial's job trains a head on that.

AWS gives a tuning job at most 32 characters of name, and its training jobs that name and a number, so the name has a
digest of the run's in the place of the run's. The digest of the plan is in it, and in the environment of each trial.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tasks.model.search import search_space
from tasks.run.naming import RESOURCE_PREFIX
from tasks.run.options import Machines
from tasks.run.records import Hyperparameters
from tasks.sagemaker.job_plan import Script, TrainingPlan, artefact_of

FEATURES_FILE, TRIAL_FILE = "features.checkpoint", "trial.json"
FEATURES = Script("training/features_job.py", "train-features", ("train", "validation"), "features", FEATURES_FILE)
TRIAL = Script("training/head_trial.py", "tune", (), "trials")
OBJECTIVE = "validation_loss"
CODE_FOLDER = "/opt/ml/code"
"""Where the image's own entry point unpacks the code of a trial; a tuning job cannot name another entry point."""

_WHOLE = frozenset({"batch_size", "head_width"})
"""What is a whole number, which a record of a search keeps as a float."""

_OF_A_HEAD = (
    *("epochs", "batch_size", "learning_rate", "weight_decay", "dropout", "label_smoothing", "head_width"),
    *("patience", "seed"),
)


def tuning_prefix(run_id: str) -> str:
    """Return how the names of a run's tuning jobs, and of their training jobs, begin."""
    return f"{RESOURCE_PREFIX}tune-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}-"


def features_plan(plan: TrainingPlan) -> TrainingPlan:
    """Return the plan of the job that embeds the pictures for all trials, and trains the default head."""
    alone = replace(plan.hyperparameters, trials=None, search_space=None)
    return replace(plan, hyperparameters=alone, script=FEATURES)


def features_uri_of(description: Mapping[str, Any]) -> str:
    """Return where the job that embeds has written the features (S3)."""
    return artefact_of(FEATURES, description)


def with_winner(plan: TrainingPlan, parameters: Mapping[str, float], features_uri: str) -> TrainingPlan:
    """Return the plan of the training with the winner's hyperparameters, on pictures that are embedded already."""
    known = {name: value for name, value in parameters.items() if name in Hyperparameters.__dataclass_fields__}
    chosen: dict[str, Any] = {name: int(value) if name in _WHOLE else float(value) for name, value in known.items()}
    hyperparameters = replace(plan.hyperparameters, trials=None, search_space=None, **chosen)
    return replace(plan, hyperparameters=hyperparameters, features_uri=features_uri)


@dataclass(frozen=True)
class TuningPlan:
    """A tuning job before it exists: the machines of a trial, its features (S3), the space, and how many trials.

    `training` is the plan of the model that is searched for. `parent`: a tuning job whose trials are known already.
    """

    training: TrainingPlan
    features_uri: str
    trials: int
    parallel: int
    parent: str | None

    @property
    def space(self) -> Mapping[str, Any]:
        """The search space as JSON by name: {"low", "high", "scale"} or {"choices"}."""
        return search_space(self.training.hyperparameters.search_space)

    @property
    def static(self) -> dict[str, int | float]:
        """The hyperparameters that are the same in all trials, where the plan names them."""
        named = {name: getattr(self.training.hyperparameters, name) for name in _OF_A_HEAD if name not in self.space}
        return {name: value for name, value in named.items() if value is not None}

    @property
    def trial(self) -> TrainingPlan:
        """The plan of a trial's job: one machine, and nothing of the dataset but the features."""
        return replace(self.training, script=TRIAL, instance_count=1, weights=None)

    @property
    def spec_digest(self) -> str:
        """The sha256 of everything that may change what the search finds."""
        spec = {
            "training": self.training.spec_digest,
            "features": self.features_uri,
            "space": self.space,
            "trials": [self.trials, self.parallel, self.parent],
        }
        return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()

    @property
    def base_name(self) -> str:
        """The name of the first attempt; further attempts append a number of two digits at most."""
        return f"{tuning_prefix(self.training.run_id)}{self.spec_digest[:8]}"

    @property
    def seconds(self) -> int:
        """The limit of the tuning job: as if no trial ended before its own limit."""
        rounds = -(-self.trials // self.parallel)
        return min(rounds * self.training.max_runtime_seconds, LONGEST_SECONDS)


def tuning_plan(plan: TrainingPlan, features_uri: str, machines: Machines) -> TuningPlan:
    """Return the plan of the search for a model's hyperparameters, on pictures that are embedded already (S3)."""
    trials = plan.hyperparameters.trials
    assert trials is not None  # without trials nothing is searched
    return TuningPlan(plan, features_uri, trials, min(machines.parallel_trials, trials), machines.warm_start)


LONGEST_SECONDS = 30 * 24 * 3600
"""AWS's own limit of a tuning job."""
