"""A training job before it exists: which script, on which inputs and machines, and the digest of all that.

The digest of the plan is part of the job's name and is in the job's environment. By it a repeated command finds its own
job and never adopts another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.account.encryption import Encryption
from tasks.account.prices import InstanceChoice
from tasks.account.role_policies import run_prefix
from tasks.model.inputs import TrainingInputs
from tasks.run import naming
from tasks.run.vpc_config import VpcConfig

SPEC_VARIABLE = "KENNEL_SPEC"
CODE_FOLDER = "/opt/ml/input/data/code"
CHECKPOINT_FOLDER = "/opt/ml/checkpoints"


@dataclass(frozen=True)
class Script:
    """A script of the training package that a job runs, the splits that it reads, and where its output goes.

    `purpose` is in the names of its jobs, `output` the run's folder. A job has its result when `artefact` is there:
    the archive itself, or that file of an output that is not packed.
    """

    file: str
    purpose: str
    splits: tuple[str, ...]
    output: str
    artefact: str | None = None


TRAIN = Script("training/train.py", "train", ("train", "validation", "test"), "output")


@dataclass(frozen=True)
class TrainingPlan(TrainingInputs):
    """A training job before it exists: its inputs, and the instances that SageMaker is asked for.

    `features_uri`: where another job has embedded the pictures already (S3).
    """

    image: str
    role_arn: str
    instance: InstanceChoice
    instance_count: int
    spot: bool
    max_runtime_seconds: int
    max_wait_seconds: int
    vpc: VpcConfig | None = None
    encryption: Encryption = field(default_factory=Encryption)
    script: Script = TRAIN
    features_uri: str | None = None

    @property
    def spec_digest(self) -> str:
        """The sha256 of everything that may change the outcome of the job."""
        return self.digest_with(
            {
                "image": self.image,
                "role": self.role_arn,
                "instances": [self.instance.instance_type, self.instance_count, self.spot],
                "limits": [self.max_runtime_seconds, self.max_wait_seconds],
                **({} if self.vpc is None else {"vpc": self.vpc.sagemaker}),
                **({} if self.encryption.key_arn is None else {"key": self.encryption.key_arn}),
                **({} if self.script == TRAIN else {"script": self.script.file}),
                **({} if self.features_uri is None else {"features": self.features_uri}),
            }
        )

    @property
    def base_name(self) -> str:
        """The name of the first attempt; further attempts append a number."""
        return naming.resource_name(self.run_id, self.script.purpose, self.spec_digest[:8], limit=60)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the container gets besides SageMaker's own."""
        variables = {"PYTHONPATH": CODE_FOLDER, "PYTHONUNBUFFERED": "1", SPEC_VARIABLE: self.spec_digest}
        variables |= {} if self.weights is None else {"KENNEL_WEIGHTS_SHA256": self.weights.sha256}
        variables |= {"PET_LOCAL_ADDR": "127.0.0.1"} if self.instance_count == 1 else {}  # else torchrun resolves `aws`
        return variables | ({"KENNEL_GIT_COMMIT": self.git_commit} if self.git_commit else {})

    def uri(self, folder: str) -> str:
        """Return the S3 URI of one of the run's folders ("code", "output", "checkpoints")."""
        return f"s3://{self.dataset.bucket}/{run_prefix(self.run_id)}/{folder}"


def artefact_of(script: Script, description: Mapping[str, Any]) -> str:
    """Return the S3 URI of what a job of the script makes."""
    uri = str(description["ModelArtifacts"]["S3ModelArtifacts"])
    return uri if script.artefact is None else f"{uri.rstrip('/')}/{script.artefact}"
