"""A tuning job's request as plain data: what CreateHyperParameterTuningJob asks for, once it was read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localaws.sagemaker.tuning.ranges import Range


@dataclass(frozen=True)
class Objective:
    """The metric by which training jobs are compared."""

    metric: str
    is_maximized: bool

    @property
    def type(self) -> str:
        """The API's word for the direction."""
        return "Maximize" if self.is_maximized else "Minimize"

    def cost(self, value: float) -> float:
        """Return the value so that less is better."""
        return -value if self.is_maximized else value


@dataclass(frozen=True)
class Resource:
    """The fewest and the most units (values of the objective in the log) that Hyperband gives a training job."""

    least: int
    most: int


@dataclass(frozen=True)
class TuningRequest:
    """A valid request. `definition` is TrainingJobDefinition, `echo` the part that Describe repeats.

    `target` and `patience` are criteria of completion: a value of the objective that is good enough, and how many
    training jobs in a row may fail to improve it by 1 %.
    """

    name: str
    strategy: str
    objective: Objective
    ranges: tuple[Range, ...]
    definition: Mapping[str, Any]
    max_jobs: int
    max_parallel: int
    max_runtime_seconds: int
    stops_early: bool
    resource: Resource | None
    target: float | None
    patience: int | None
    seed: int | None
    parents: tuple[str, ...]
    tags: tuple[Mapping[str, str], ...]
    echo: Mapping[str, Any]

    @property
    def static(self) -> Mapping[str, str]:
        """The hyperparameters that all training jobs have alike."""
        return self.definition.get("StaticHyperParameters") or {}

    def training_job(self, name: str, arn: str, values: Mapping[str, str]) -> dict[str, Any]:
        """Return CreateTrainingJob's parameters for one training job; `arn` is the tuning job's."""
        definition = dict(self.definition)
        del definition["AlgorithmSpecification"]
        definition.pop("DefinitionName", None)
        definition.pop("StaticHyperParameters", None)
        checkpoints = definition.get("CheckpointConfig")
        if checkpoints:  # one folder for all would give each training job another one's checkpoint
            definition["CheckpointConfig"] = {**checkpoints, "S3Uri": f"{checkpoints['S3Uri'].rstrip('/')}/{name}"}
        return {
            **definition,
            "TrainingJobName": name,
            "TuningJobArn": arn,
            "AlgorithmSpecification": self.definition["AlgorithmSpecification"],
            "HyperParameters": {**self.static, **values, "_tuning_objective_metric": self.objective.metric},
            "Tags": [dict(tag) for tag in self.tags],
        }
