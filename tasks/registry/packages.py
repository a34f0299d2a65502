"""The packages of a group: each a model that a run trained, with what it was trained on and how well it did.

A package of a group has no tags, so its metadata names the run. Its description is its name in the ledger: AWS gives
the version's number, and a command whose answer was lost finds its package by the description.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from tasks.account.lookup import none_if_missing
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.record_store import Count, Record

KIND = "model-package"
PENDING, APPROVED, REJECTED = "PendingManualApproval", "Approved", "Rejected"
DATA, MODEL, COMMIT, CODE, BACKBONE = (f"kennel:{name}" for name in ("data", "model", "commit", "code", "backbone"))
ACCURACY, IMAGES = "kennel:test-accuracy", "kennel:test-images"
LONGEST_REASON = 1024


@dataclass(frozen=True)
class ModelVersion(Record, file="model_version.json", called="registered model", made_by="train_sagemaker"):
    """A version of a group in the registry; `name` is "<group>/<run id>-<digest>", as the ledger has it.

    `model_uri` is the archive that a deployment serves, with `image`; `trained_uri` is the one that training saved.
    """

    group: str
    version: Count
    arn: str
    name: str
    run_id: str
    image: str
    model_uri: str
    trained_uri: str
    data_digest: str

    @property
    def resources(self) -> tuple[tuple[str, str], ...]:
        """The package, and the run's prefix, which holds the model."""
        return ((KIND, self.name), ("s3-prefix", "/".join([*self.model_uri.split("/")[:5], ""])))

    @property
    def label(self) -> str:
        """The version as a person names it, such as "kennel-dogs version 3"."""
        return f"{self.group} version {self.version}"


@dataclass(frozen=True)
class ListedPackage:
    """What the registry says of a package; `created` is UTC in ISO 8601."""

    group: str
    version: int
    arn: str
    description: str
    approval: str
    reason: str
    created: str
    metadata: Mapping[str, str]
    container: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name in the ledger."""
        return f"{self.group}/{self.description}"

    @property
    def run_id(self) -> str:
        """The run that trained it; "" if the registry does not say."""
        return self.metadata.get(naming.RUN_TAG, "")

    @property
    def is_own(self) -> bool:
        """Whether kennel registered it."""
        return self.metadata.get(naming.PROJECT_TAG) == naming.PROJECT

    def as_version(self, trained_uri: str = "") -> ModelVersion:
        """Return the version as a run's record."""
        return ModelVersion(
            group=self.group,
            version=self.version,
            arn=self.arn,
            name=self.name,
            run_id=self.run_id,
            image=str(self.container.get("Image", "")),
            model_uri=str(self.container.get("ModelDataUrl", "")),
            trained_uri=trained_uri or self.metadata.get(MODEL, ""),
            data_digest=self.metadata.get(DATA, ""),
        )


def package_arns(aws: Aws, group: str) -> Iterator[tuple[str, str]]:
    """Yield the ARN and the description of each package of a group, the newest first.

    Raises:
        ClientError: SageMaker refused; there may be no such group.
    """
    pages = aws.client("sagemaker").get_paginator("list_model_packages")
    for page in pages.paginate(ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending"):
        for each in page["ModelPackageSummaryList"]:
            yield str(each["ModelPackageArn"]), str(each.get("ModelPackageDescription", ""))


def find_package(aws: Aws, name: str) -> ListedPackage | None:
    """Return the package of a name in the ledger, or None.

    Raises:
        ClientError: SageMaker refused.
    """
    group, _, description = name.partition("/")
    listed = none_if_missing(lambda: list(package_arns(aws, group))) or []
    arn = next((arn for arn, shown in listed if shown == description), None)
    return None if arn is None else describe_package(aws, arn)


def describe_package(aws: Aws, arn: str) -> ListedPackage | None:
    """Return what the registry says of a package, or None without it.

    Raises:
        ClientError: SageMaker refused.
    """
    found = none_if_missing(lambda: aws.client("sagemaker").describe_model_package(ModelPackageName=arn))
    if found is None:
        return None
    containers = (found.get("InferenceSpecification") or {}).get("Containers") or [{}]
    return ListedPackage(
        group=str(found.get("ModelPackageGroupName", "")),
        version=int(found.get("ModelPackageVersion", 0)),
        arn=arn,
        description=str(found.get("ModelPackageDescription", "")),
        approval=str(found.get("ModelApprovalStatus", "")),
        reason=str(found.get("ApprovalDescription", "")),
        created=found["CreationTime"].astimezone(UTC).isoformat(timespec="seconds"),
        metadata=dict(found.get("CustomerMetadataProperties") or {}),
        container=containers[0],
    )


def groups_of_kennel(aws: Aws) -> list[str]:
    """Return the names of the groups whose names begin as kennel's do.

    Raises:
        ClientError: SageMaker refused.
    """
    pages = aws.client("sagemaker").get_paginator("list_model_package_groups")
    found = pages.paginate(NameContains=naming.RESOURCE_PREFIX)
    names = [each["ModelPackageGroupName"] for page in found for each in page["ModelPackageGroupSummaryList"]]
    return sorted(name for name in names if name.startswith(naming.RESOURCE_PREFIX))


def list_packages(aws: Aws, group: str) -> list[ListedPackage]:
    """Return the packages of a group that kennel registered, the newest first.

    Raises:
        ClientError: SageMaker refused.
    """
    described = (describe_package(aws, arn) for arn, _ in package_arns(aws, group))
    return [each for each in described if each is not None and each.is_own]


def settle(aws: Aws, arn: str, approval: str, reason: str) -> None:
    """Approve or reject a package, with the reason on one line, of which AWS keeps 1,024 characters.

    AWS takes no line break in it, and reasons of a model's failure have tracebacks.

    Raises:
        ClientError: SageMaker refused; there may be no such package.
    """
    line = " ".join(reason.split())
    shown = line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"
    wanted = {"ModelPackageArn": arn, "ModelApprovalStatus": approval, "ApprovalDescription": shown}
    repeated_if_lost(lambda: aws.client("sagemaker").update_model_package(**wanted))
