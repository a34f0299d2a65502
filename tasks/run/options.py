"""Define the options of a run as frozen records with bounds.

Prefect shows the records as nested forms, and `kennel` shows them as flags. The run id is computed from them. Creating
a record with a value out of bounds fails. Larger records are composed of smaller ones (`ModelOptions` and `Machines`
make `TrainingOptions`), because some callers need only one part. The defaults are defined here, with two
exceptions: those of the load test are in `tasks.load.options`, and None as a hyperparameter leaves the value to
`training/config.py`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from tasks.run.records import SPLITS, Hyperparameters
from tasks.run.text_form import TextForm
from tasks.run.vpc_config import VpcConfig, read_vpc_config

InstanceType = Annotated[
    str, TextForm(r"ml\.[a-z0-9-]+\.[a-z0-9]+", "an instance type of SageMaker, such as ml.m5.xlarge")
]
Ec2Type = Annotated[str, TextForm(r"[a-z0-9-]+\.[a-z0-9]+", "an instance type of EC2, such as c7i.2xlarge")]
AllowedHost = Annotated[
    str,
    TextForm(
        r"([A-Za-z0-9.\-]{1,253}|\[[0-9A-Fa-f:]{2,39}\]):\d{1,5}",
        "a host and a port, such as photos.example.org:443 or [2001:db8::1]:443",
    ),
]
Origin = Annotated[
    str,
    TextForm(
        r"https?://([a-z0-9.-]{1,253}|\[[0-9a-f:]{2,39}\])(:\d{1,5})?",
        "the origin of a web page, such as https://app.example.org",
    ),
]
SubnetId = Annotated[
    str, TextForm(r"subnet-([0-9a-f]{8}|[0-9a-f]{17})", "the id of a subnet, such as subnet-0123456789abcdef0")
]
SecurityGroupId = Annotated[
    str, TextForm(r"sg-([0-9a-f]{8}|[0-9a-f]{17})", "the id of a security group, such as sg-0123456789abcdef0")
]
BackboneName = Annotated[
    str, TextForm(r"[a-z0-9_./-]{1,64}", "the name of a network: up to 64 lower-case letters, digits and _ . / -")
]
TuningJobName = Annotated[
    str,
    TextForm(
        r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}",
        "the name of a tuning job: up to 32 letters and digits, with hyphens between them",
    ),
]
MOST_INSTANCES = 20
MOST_WORKERS = 100
"""Of a load test; their instances of EC2 have the numbers after those of a training."""
MOST_CHARACTERS = 2000  # of a search space; those of SageMaker's hyperparameters are 2,500
RANDOM_WEIGHTS = "random"
WEIGHTS_VERSION = re.compile(r"IMAGENET1K_[A-Z0-9_]+")
"""torchvision's names of the versions of weights."""

EMAIL = TextForm(r"[^@\s<>\"]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", "an address, such as me@example.org")
Email = Annotated[str, StringConstraints(max_length=254), EMAIL]

ClassFolder = Literal["auto", "first", "last"]
BudgetUsd = Annotated[float, Field(gt=0, le=1_000_000)]
TtlHours = Annotated[float, Field(gt=0, le=8784)]
"""At most a year."""
Ec2Instances = Annotated[int, Field(ge=0, le=MOST_INSTANCES)]


class Options(BaseModel):
    """A group of options; creating one with an unknown name or a value out of bounds raises an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", field_title_generator=lambda name, _: name)

    @classmethod
    def of(cls, *parts: Options, **others: Any) -> Self:
        """Create the record from the fields that it shares with other records, and from values given by name.

        Raises:
            pydantic.ValidationError: a value is out of bounds, or a name in `others` is unknown.
        """
        shared = {name: value for part in parts for name, value in part if name in cls.model_fields}
        return cls(**{**shared, **others})


def _require_whole(split: str) -> str:
    """Return the percents of a split, if they make 100.

    Raises:
        ValueError: they do not.
    """
    if sum(map(int, split.split("/"))) != 100:
        raise ValueError("its three numbers have to make 100, such as 80/10/10")
    return split


class DataOptions(Options):
    """How photos are distributed where their folders do not say it, and what becomes of a photo in two splits."""

    split: Annotated[
        str,
        TextForm(r"[1-9]\d?/[1-9]\d?/[1-9]\d?", "the percents of train, validation and test, such as 80/10/10"),
        AfterValidator(_require_whole),
        Field(description="Percents of train, validation and test, for the splits that the data does not have."),
    ] = "80/10/10"
    split_seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="Of that distribution.")] = 0
    keep_duplicates: Annotated[
        bool,
        Field(description="Keep photos of train that are also in validation or test, or in other classes, and warn."),
    ] = False
    class_folder: Annotated[
        ClassFolder,
        Field(
            description="Of several folders around a photo, the one that is its class: the outermost (first), the one "
            "that it lies in (last), or auto, which refuses data where it cannot tell."
        ),
    ] = "auto"

    @property
    def shares(self) -> dict[str, int]:
        """The percents by split."""
        return dict(zip(SPLITS, map(int, self.split.split("/")), strict=True))

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The options that differ from the defaults, for the id of a run; None if all are defaults."""
        return self.model_dump(exclude_defaults=True) or None


STAGING_SECONDS = 4 * 3600
"""The limit of a job that stages photos."""


class StagingOptions(Options):
    """Where photos are decoded and judged: on this machine, or by a processing job of SageMaker."""

    stage_on: Annotated[
        Literal["here", "sagemaker"],
        Field(description="Stage on this machine, or photos that are in S3 (`s3://...`) by a job of SageMaker."),
    ] = "here"
    stage_instances: Annotated[
        int, Field(ge=1, le=MOST_INSTANCES, description="Instances of that job; each reads and decodes its share.")
    ] = 1
    stage_instance_type: Annotated[InstanceType | None, Field(description="Of these instances.")] = None

    @property
    def is_remote(self) -> bool:
        """Whether a job stages the photos."""
        return self.stage_on == "sagemaker"


class ModelOptions(Options):
    """The options that determine the trained model, independent of the machines that it is trained on."""

    backbone: Annotated[BackboneName, Field(description="resnet50, efficientnet_lite0, ...")] = "efficientnet_lite0"
    weights: Annotated[
        str | None,
        Field(
            min_length=1,
            description="Instead of the default ImageNet weights: a .safetensors file, a version (IMAGENET1K_V1), or "
            "random.",
        ),
    ] = None
    epochs: Annotated[int | None, Field(ge=1, le=1000, description="Epochs of the head at most.")] = None
    views: Annotated[
        int | None,
        Field(ge=1, le=64, description="Views of each training image; default 8 for few images, down to 1 for many."),
    ] = None
    batch_size: Annotated[int | None, Field(ge=1, le=65_536, description="Images of one training step.")] = None
    learning_rate: Annotated[float | None, Field(gt=0.0, le=10.0, description="Of the head.")] = None
    weight_decay: Annotated[float | None, Field(ge=0.0, le=100.0, description="Of AdamW.")] = None
    dropout: Annotated[float | None, Field(ge=0.0, le=0.95, description="Share of the head's units left out.")] = None
    label_smoothing: Annotated[float | None, Field(ge=0.0, le=0.9, description="Share spread over all classes.")] = None
    head_width: Annotated[int | None, Field(ge=1, le=8192, description="Hidden units of the head.")] = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="Of every random choice.")] = 0
    finetune: Annotated[bool, Field(description="Train the backbone too (GPU).")] = False
    finetune_learning_rate: Annotated[
        float | None, Field(gt=0.0, le=10.0, description="Of the whole network, with --finetune.")
    ] = None
    trials: Annotated[
        int | None, Field(ge=1, le=1000, description="First search for hyperparameters, with so many trials.")
    ] = None
    search_space: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MOST_CHARACTERS,
            description="What the search varies, instead of the default: JSON, or on the command line a file of it.",
        ),
    ] = None

    @property
    def weights_file(self) -> Path | None:
        """The file that `weights` names; None if it names a version or random weights, or nothing."""
        is_file = self.weights not in {None, RANDOM_WEIGHTS} and not WEIGHTS_VERSION.fullmatch(str(self.weights))
        return Path(str(self.weights)) if is_file else None

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The arguments of training/train.py, without the weights, which it receives as a channel."""
        return Hyperparameters(**{name: value for name, value in self if name in _HYPERPARAMETERS})


class Machines(Options):
    """The instances that SageMaker trains on, the time limit of the job, and what searches for hyperparameters."""

    instances: Annotated[int, Field(ge=1, le=MOST_INSTANCES, description="Training instances.")] = 1
    instance_type: Annotated[InstanceType | None, Field(description="Instead of the one chosen.")] = None
    spot: Annotated[bool, Field(description="Spot instances, with checkpoints.")] = False
    max_runtime_seconds: Annotated[int, Field(ge=60, le=5 * 24 * 3600, description="Limit of the training job.")] = 3600
    search: Annotated[
        Literal["job", "sagemaker"],
        Field(description="What runs --trials: the training job, or SageMaker's own tuner with a job for each trial."),
    ] = "job"
    parallel_trials: Annotated[
        int, Field(ge=1, le=MOST_INSTANCES, description="Trials of SageMaker's own tuner that run at once.")
    ] = 2
    warm_start: Annotated[
        TuningJobName | None, Field(description="A tuning job of the same data, whose trials its tuner begins with.")
    ] = None


class Ec2Machines(Options):
    """The EC2 instances that train, and the time limit of the training."""

    instances: Annotated[int, Field(ge=1, le=MOST_INSTANCES, description="EC2 instances, which train together.")] = 1
    instance_type: Annotated[Ec2Type | None, Field(description="Instead of the ones chosen.")] = None
    spot: Annotated[bool, Field(description="Spot first, with checkpoints.")] = False
    max_runtime_seconds: Annotated[int, Field(ge=60, le=5 * 24 * 3600, description="Limit of the training.")] = 3600
    keep_on_failure_minutes: Annotated[
        int, Field(ge=0, le=240, description="How long a failed instance stays for a look by ssh; 0 is not at all.")
    ] = 0


class TrainingOptions(Machines, ModelOptions):
    """The options of a training on SageMaker."""


class Ec2TrainingOptions(Ec2Machines, ModelOptions):
    """The options of a training on EC2 over SSH."""


class DeployOptions(Options):
    """The endpoint's instances and what it keeps; what the function may fetch, how it is replaced, who may call it."""

    instances: Annotated[int, Field(ge=1, le=MOST_INSTANCES, description="Instances of the endpoint.")] = 1
    instance_type: Annotated[InstanceType | None, Field(description="Instead of the smallest that autoscales.")] = None
    allowed_hosts: Annotated[
        tuple[AllowedHost, ...],
        Field(
            description="A host:port that the function may fetch from although it is on loopback or its port is no "
            "default port; without it, only public web servers."
        ),
    ] = ()
    capture: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            multiple_of=0.01,
            description="The share of requests whose photo and answer the endpoint keeps in S3, for `kennel drift`: "
            "0 to 1, in whole percent.",
        ),
    ] = 0.0
    capture_days: Annotated[
        int, Field(ge=1, le=365, description="S3 and `kennel drift` delete kept photos after so many days.")
    ] = 30
    canary: Annotated[
        float,
        Field(
            ge=0,
            le=0.5,
            multiple_of=0.01,
            description="The share of requests that a new version of the function gets while alarms watch it, in whole "
            "percent; 0 gives it all at once.",
        ),
    ] = 0.1
    canary_minutes: Annotated[
        float, Field(ge=1, le=60, description="How long that lasts, on AWS's clock, before it gets all.")
    ] = 5.0
    public_url: Annotated[
        Literal["iam", "none"] | None,
        Field(
            description="Give the function a URL: `iam` takes signed requests only, `none` takes everybody's and has "
            "to be confirmed. Without it there is none."
        ),
    ] = None
    confirm_public: Annotated[
        bool, Field(description="Anybody on the internet may run the function at your cost: the URL for `none`.")
    ] = False
    public_concurrency: Annotated[
        int,
        Field(ge=1, le=1000, description="Executions at once of the function with a URL for `none`: reserved for it."),
    ] = 5
    fetch_urls: Annotated[
        bool,
        Field(description="Fetch photos by their URL for anybody too; without it a URL for `none` takes photos only."),
    ] = False
    allowed_origins: Annotated[
        tuple[Origin, ...],
        Field(description="The origin of web pages that may call the function from a browser (CORS)."),
    ] = ()


class PromotionOptions(Options):
    """How a new model goes live, and what takes it back."""

    shadow_minutes: Annotated[
        float,
        Field(
            ge=0,
            le=60,
            description="How long the new model first gets copies of the requests and answers nobody, on AWS's clock; "
            "0 leaves that out.",
        ),
    ] = 5.0
    least_agreement: Annotated[
        float,
        Field(
            ge=0.0,
            le=1.0,
            description="The share of the copied photos on which both models have to answer the same class. A better "
            "model differs on many photos: where the gate compared both, its own agreement times this is enough, but "
            "no more than 20 points below it.",
        ),
    ] = 0.5
    bake_minutes: Annotated[
        float, Field(ge=1, le=60, description="How long each step is watched before the next one, on AWS's clock.")
    ] = 5.0
    most_errors: Annotated[
        float, Field(ge=0.0, lt=1.0, description="The share of answers with a server's error that is allowed.")
    ] = 0.01
    slower: Annotated[
        float, Field(ge=1.0, le=100.0, description="The p99 of a photo may be so many times what it was.")
    ] = 1.5


class Network(Options):
    """The subnets and security groups of a VPC of yours, for the training, the endpoint, the function and EC2.

    Without them, SageMaker and Lambda use networks of AWS's own, and EC2 the account's default VPC.
    """

    subnets: Annotated[
        tuple[SubnetId, ...], Field(max_length=16, description="A subnet of your VPC; give several for several zones.")
    ] = ()
    security_groups: Annotated[
        tuple[SecurityGroupId, ...],
        Field(max_length=5, description="A security group of the same VPC; EC2 also gets one for SSH."),
    ] = ()
    vpc_config: Annotated[
        str | None,
        AfterValidator(read_vpc_config),
        Field(description='Both as SageMaker\'s JSON: {"Subnets": [...], "SecurityGroupIds": [...]}.'),
    ] = None

    @property
    def vpc(self) -> VpcConfig | None:
        """The subnets and groups that were named in either way; None if none were."""
        named = VpcConfig() if self.vpc_config is None else VpcConfig.of_json(self.vpc_config)
        both = VpcConfig(self.subnets + named.subnets, self.security_groups + named.security_groups)
        return both if both.subnets or both.security_groups else None


_HYPERPARAMETERS = frozenset(Hyperparameters.__dataclass_fields__)
