"""What a run's endpoint has to serve, on what, and the names of everything that belongs to it; no call of AWS.

Models and configurations cannot change, so their names end in a hash of their content. The endpoint has one name for
each run and is updated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.account.prices import InstanceChoice
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.settings import Settings
from tasks.run.vpc_config import VpcConfig
from training.pictures import DEFAULT_LIMITS, PictureLimits

VARIANT = "primary"
SHADOW = "challenger"
"""The names of the production variant and of the shadow variant."""
SERVING_VARIABLES = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
"""AWS's PyTorch image finds our handlers by them."""


def serving_variables(settings: Settings) -> dict[str, str]:
    """Return the environment of a model's container: the limits of pictures too, if they are not the usual ones."""
    limits = PictureLimits(settings.max_image_pixels, settings.max_image_bytes)
    return {**SERVING_VARIABLES, **({} if limits == DEFAULT_LIMITS else limits.variables())}


@dataclass(frozen=True)
class Capture:
    """What SageMaker keeps of requests and answers: so many percent of them, below an S3 URI, sealed with a KMS key.

    `days` is how long the flow `drift`, and the rule of the bucket's lifecycle, leave them there.
    """

    percentage: int
    uri: str
    key_arn: str | None
    days: int

    @property
    def config(self) -> dict[str, Any]:
        """SageMaker's DataCaptureConfig. Answers are kept as JSON, photos as base64."""
        return {
            "EnableCapture": True,
            "InitialSamplingPercentage": self.percentage,
            "DestinationS3Uri": self.uri,
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
            **({} if self.key_arn is None else {"KmsKeyId": self.key_arn}),
        }


@dataclass(frozen=True)
class EndpointPlan:
    """The model that an endpoint has to serve, and the instances that serve it.

    `package` is the ARN of the version in the registry that the model is made of; None for one made of its archive.
    `deployment` is UpdateEndpoint's DeploymentConfig; without one, all instances are exchanged at once. `shadow` is the
    plan of a model that gets a copy of each request, on one instance of this type, and answers nobody.
    """

    run_id: str
    image: str
    model_uri: str
    role_arn: str
    instance: InstanceChoice
    instance_count: int
    deadline_seconds: float = 1800.0
    vpc: VpcConfig | None = None
    volume_key: str | None = None
    package: str | None = None
    deployment: Mapping[str, Any] | None = None
    capture: Capture | None = None
    shadow: EndpointPlan | None = None
    variables: Mapping[str, str] = field(default_factory=lambda: SERVING_VARIABLES)

    @property
    def container(self) -> dict[str, Any]:
        """The model's PrimaryContainer."""
        if self.package is not None:
            return {"ModelPackageName": self.package}
        return {"Image": self.image, "ModelDataUrl": self.model_uri, "Environment": dict(self.variables)}

    @property
    def network(self) -> dict[str, Any]:
        """The model's VpcConfig as an argument, if it has one."""
        return {} if self.vpc is None else {"VpcConfig": self.vpc.sagemaker}

    @property
    def model_name(self) -> str:
        """The model's name, which is the same for the same image, artefact, role and VPC."""
        content = [self.container, self.role_arn, *([self.network] if self.network else [])]
        return naming.resource_name(self.run_id, "model", _digest(content))

    @property
    def variants(self) -> list[dict[str, Any]]:
        """The configuration's one production variant."""
        return [self._variant(VARIANT, self.model_name, self.instance_count)]

    @property
    def shadowing(self) -> dict[str, Any]:
        """The configuration's ShadowProductionVariants as an argument, if it has one."""
        if self.shadow is None:
            return {}
        return {"ShadowProductionVariants": [self._variant(SHADOW, self.shadow.model_name, 1)]}

    def _variant(self, name: str, model_name: str, instances: int) -> dict[str, Any]:
        return {
            "VariantName": name,
            "ModelName": model_name,
            "InstanceType": self.instance.instance_type,
            "InitialInstanceCount": instances,
            "InitialVariantWeight": 1.0,
        }

    @property
    def sealing(self) -> dict[str, str]:
        """The configuration's KmsKeyId as an argument, if it has one."""
        return {} if self.volume_key is None else {"KmsKeyId": self.volume_key}

    @property
    def capturing(self) -> dict[str, Any]:
        """The configuration's DataCaptureConfig as an argument, if it has one."""
        return {} if self.capture is None else {"DataCaptureConfig": self.capture.config}

    @property
    def config_name(self) -> str:
        """The configuration's name, which is the same for the same variants, key and capture."""
        more = [each for each in (self.sealing, self.capturing, self.shadowing) if each]
        content: object = [self.variants, *more] if more else self.variants
        return naming.resource_name(self.run_id, "config", _digest(content))

    @property
    def endpoint_name(self) -> str:
        """The endpoint's name; a run has one endpoint."""
        return endpoint_name(self.run_id)


def endpoint_name(run_id: str) -> str:
    """Return the name of a run's endpoint."""
    return naming.resource_name(run_id, "endpoint")


def guard_prefix(run_id: str) -> str:
    """Return how the names of the alarms begin that take an update of a run's endpoint back."""
    return f"{naming.resource_name(run_id, 'guard')}-"


def endpoint_log_group(run_id: str) -> str:
    """Return the log group to which SageMaker writes an endpoint's container output."""
    return f"/aws/sagemaker/Endpoints/{endpoint_name(run_id)}"


def endpoint_arn(aws: Aws, run_id: str) -> str:
    """Return the ARN that a run's endpoint has or will have. SageMaker writes endpoint names in lower case in ARNs."""
    return aws.arn("sagemaker", f"endpoint/{endpoint_name(run_id).lower()}")


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
