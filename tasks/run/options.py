"""What a person may choose for a run: frozen, bounded records that a flow, a command and a run id are made from.

Prefect shows them as nested forms, and `kennel` as flags; a value out of bounds makes no record. A record is made of
parts (`ModelOptions` and `Machines` make `TrainingOptions`), because one part may be wanted without the other. Every
default of an option stands here, or in the record of its own room: `tasks.load.options`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tasks.run.records import Hyperparameters

InstanceType = Annotated[str, StringConstraints(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")]
Ec2Type = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+\.[a-z0-9]+$")]
AllowedHost = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.\-\[\]:*]{1,255}$")]
MOST_INSTANCES = 20
Ec2Instances = Annotated[int, Field(ge=0, le=MOST_INSTANCES)]


class Options(BaseModel):
    """Options that belong together. An unknown name and a value out of bounds are refused when the record is made."""

    model_config = ConfigDict(frozen=True, extra="forbid", field_title_generator=lambda name, _: name)

    @classmethod
    def of(cls, *parts: Options, **others: Any) -> Self:
        """Make the record from those fields of other records that it has too, and from values by name.

        Raises:
            pydantic.ValidationError: a value is out of bounds, or a name in `others` is unknown.
        """
        shared = {name: value for part in parts for name, value in part if name in cls.model_fields}
        return cls(**{**shared, **others})


class ModelOptions(Options):
    """What decides which model a training makes, whatever machines it runs on."""

    backbone: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$", description="resnet50, efficientnet_lite0, ...")] = (
        "efficientnet_lite0"
    )
    weights: Annotated[Path | None, Field(description="A .safetensors file for the backbone.")] = None
    epochs: Annotated[int | None, Field(ge=1, le=1000, description="Epochs of the head at most.")] = None
    views: Annotated[
        int | None,
        Field(ge=1, le=64, description="Views of each training image; default 8 for few images, down to 1 for many."),
    ] = None
    batch_size: Annotated[int | None, Field(ge=1, le=65_536, description="Images of one training step.")] = None
    learning_rate: Annotated[float | None, Field(gt=0.0, le=10.0, description="Of the head.")] = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="Of every random choice.")] = 0
    finetune: Annotated[bool, Field(description="Train the backbone too (GPU).")] = False

    def with_resolved_weights(self) -> Self:
        """Return the options with an absolute path of the weights, which belongs to a run's id."""
        return self if self.weights is None else self.model_copy(update={"weights": self.weights.resolve()})

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The arguments of training/train.py; it gets the weights as a channel."""
        return Hyperparameters(**{name: value for name, value in self if name in _HYPERPARAMETERS})


class Machines(Options):
    """The instances that SageMaker trains on, and for how long."""

    instances: Annotated[int, Field(ge=1, le=MOST_INSTANCES, description="Training instances.")] = 1
    instance_type: Annotated[InstanceType | None, Field(description="Instead of the one chosen.")] = None
    spot: Annotated[bool, Field(description="Spot instances, with checkpoints.")] = False
    max_runtime_seconds: Annotated[int, Field(ge=60, le=5 * 24 * 3600, description="Limit of the training job.")] = 3600


class Ec2Machines(Options):
    """The EC2 instances that train, and for how long."""

    instances: Annotated[int, Field(ge=1, le=MOST_INSTANCES, description="EC2 instances; torchrun across them.")] = 1
    instance_type: Annotated[Ec2Type | None, Field(description="Instead of the ones chosen.")] = None
    spot: Annotated[bool, Field(description="Spot first, with checkpoints.")] = False
    max_runtime_seconds: Annotated[int, Field(ge=60, le=5 * 24 * 3600, description="Limit of the training.")] = 3600
    keep_on_failure_minutes: Annotated[
        int, Field(ge=0, le=240, description="How long a failed instance stays for a look by ssh; 0 is not at all.")
    ] = 0


class TrainingOptions(Machines, ModelOptions):
    """A training on SageMaker."""


class Ec2TrainingOptions(Ec2Machines, ModelOptions):
    """A training on EC2 over SSH."""


class DeployOptions(Options):
    """The endpoint, and what the function in front of it may fetch."""

    instances: Annotated[int, Field(ge=1, le=MOST_INSTANCES, description="Instances of the endpoint.")] = 1
    instance_type: Annotated[InstanceType | None, Field(description="Instead of the smallest that autoscales.")] = None
    allowed_hosts: Annotated[
        tuple[AllowedHost, ...],
        Field(
            description="host:port that the function may fetch from though it is not public; default on the embedded "
            "AWS: any port of loopback, on real AWS: none."
        ),
    ] = ()


_HYPERPARAMETERS = frozenset(Hyperparameters.__dataclass_fields__)
