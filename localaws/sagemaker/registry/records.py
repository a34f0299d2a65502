"""The records of SageMaker's Model Registry: groups of model packages, and packages with their versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_SHOWN_OTHERWISE = frozenset(
    {
        *("ClientToken", "CustomerMetadataProperties", "ModelApprovalStatus", "Tags"),
        *("ModelPackageName", "ModelPackageGroupName"),
    }
)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class PackageGroup:
    """A model package group; `versions` is the highest version that it ever had, because none is used again."""

    name: str
    arn: str
    description: str | None
    tags: list[dict[str, str]]
    creation_time: datetime = field(default_factory=_now)
    versions: int = 0

    def summary(self) -> dict[str, Any]:
        """Return the group as ListModelPackageGroups lists it."""
        described = {"ModelPackageGroupDescription": self.description} if self.description else {}
        return {
            "ModelPackageGroupName": self.name,
            "ModelPackageGroupArn": self.arn,
            "CreationTime": self.creation_time,
            "ModelPackageGroupStatus": "Completed",
            **described,
        }

    def described(self) -> dict[str, Any]:
        """Return the group as DescribeModelPackageGroup shows it."""
        return {**self.summary(), "CreatedBy": {}}


@dataclass
class ModelPackage:
    """A model package: a version of a group, or one with a name of its own. `given` is what CreateModelPackage got."""

    arn: str
    group: str | None
    version: int | None
    given: Mapping[str, Any]
    approval_status: str | None
    metadata: dict[str, str]
    tags: list[dict[str, str]]
    approval_description: str | None = None
    creation_time: datetime = field(default_factory=_now)
    last_modified_time: datetime | None = None

    @property
    def name(self) -> str:
        """The name by which a list is filtered and sorted: the group's for a version."""
        return self.group or str(self.given["ModelPackageName"])

    @property
    def containers(self) -> Sequence[Mapping[str, Any]]:
        """The containers of its inference specification."""
        found: Sequence[Mapping[str, Any]] = (self.given.get("InferenceSpecification") or {}).get("Containers") or ()
        return found

    def change(self, changes: Mapping[str, Any]) -> None:
        """Carry out an UpdateModelPackage: what is not named stays as it is."""
        self.approval_status = changes.get("ModelApprovalStatus") or self.approval_status
        self.approval_description = changes.get("ApprovalDescription") or self.approval_description
        self.metadata |= changes.get("CustomerMetadataProperties") or {}
        for name in changes.get("CustomerMetadataPropertiesToRemove") or ():
            self.metadata.pop(name, None)
        self.last_modified_time = _now()

    def summary(self) -> dict[str, Any]:
        """Return the package as ListModelPackages lists it."""
        shown = {
            **self._identity(),
            "ModelPackageDescription": self.given.get("ModelPackageDescription"),
            "CreationTime": self.creation_time,
            "ModelPackageStatus": "Completed",
            "ModelApprovalStatus": self.approval_status,
        }
        return {name: value for name, value in shown.items() if value is not None}

    def batch_summary(self) -> dict[str, Any]:
        """Return the package as BatchDescribeModelPackage shows it."""
        return {**self.summary(), "InferenceSpecification": self.given.get("InferenceSpecification") or {}}

    def described(self) -> dict[str, Any]:
        """Return the package as DescribeModelPackage shows it."""
        given = {name: value for name, value in self.given.items() if name not in _SHOWN_OTHERWISE}
        shown = {
            **given,
            **self.summary(),
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            "ApprovalDescription": self.approval_description,
            "CustomerMetadataProperties": self.metadata or None,
            "LastModifiedTime": self.last_modified_time,
        }
        return {name: value for name, value in shown.items() if value is not None}

    def _identity(self) -> dict[str, Any]:
        if self.group is None:
            return {"ModelPackageArn": self.arn, "ModelPackageName": self.name}
        return {
            "ModelPackageArn": self.arn,
            "ModelPackageGroupName": self.group,
            "ModelPackageVersion": self.version,
        }
