"""Lists the versions of the registry with what each is: the champion of an endpoint, a challenger, rejected and why."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.account.lookup import none_if_missing
from tasks.registry.packages import (
    ACCURACY,
    APPROVED,
    BACKBONE,
    DATA,
    IMAGES,
    REJECTED,
    ListedPackage,
    groups_of_kennel,
    list_packages,
)
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import aws_boundary
from tasks.run.numbers import whole_number

WHERE = "models"


@dataclass(frozen=True)
class ListedVersion:
    """A version; `state` is "champion" of `endpoints`, "approved", "challenger" or "rejected", `reason` the registry's.

    `accuracy` is that on the `images` of its own test split, None if the registry does not say. `created` is UTC in
    ISO 8601.
    """

    group: str
    version: int
    arn: str
    run_id: str
    state: str
    endpoints: tuple[str, ...]
    accuracy: float | None
    images: int | None
    backbone: str
    data_digest: str
    reason: str
    created: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        accuracy = "" if self.accuracy is None else f"{self.accuracy:.4f} on {self.images}"
        state = self.state if not self.endpoints else f"{self.state} of {', '.join(self.endpoints)}"
        return str(self.version), self.run_id, accuracy, state, self.reason


HEAD = ("version", "trained by", "test accuracy", "state", "reason")


def list_versions(aws: Aws, group: str | None = None) -> list[ListedVersion]:
    """Return the versions of a group, or of all groups of kennel's, the newest first.

    Raises:
        AwsFailed: SageMaker refused.
    """
    with aws_boundary(WHERE):
        groups = groups_of_kennel(aws) if group is None else [group]
        found = [each for name in groups for each in none_if_missing(partial(list_packages, aws, name)) or []]
        serving = _served(aws) if found else {}
    return [_listed(each, serving) for each in found]


def _listed(package: ListedPackage, serving: dict[str, list[str]]) -> ListedVersion:
    endpoints = serving.get(package.arn) or serving.get(str(package.container.get("ModelDataUrl")), [])
    states = {APPROVED: "approved", REJECTED: "rejected"}
    accuracy = package.metadata.get(ACCURACY)
    return ListedVersion(
        group=package.group,
        version=package.version,
        arn=package.arn,
        run_id=package.run_id,
        state="champion" if endpoints else states.get(package.approval, "challenger"),
        endpoints=tuple(sorted(endpoints)),
        accuracy=None if accuracy is None else float(accuracy),
        images=whole_number(package.metadata.get(IMAGES, "")),
        backbone=package.metadata.get(BACKBONE, ""),
        data_digest=package.metadata.get(DATA, ""),
        reason=package.reason,
        created=package.created,
    )


def _served(aws: Aws) -> dict[str, list[str]]:
    """Return the names of kennel's endpoints by what they serve: the ARN of a package, or an archive's URI."""
    client, found = aws.client("sagemaker"), dict[str, list[str]]()
    pages = client.get_paginator("list_endpoints").paginate(NameContains=naming.RESOURCE_PREFIX)
    for name in (each["EndpointName"] for page in pages for each in page["Endpoints"]):
        for served in _models_of(client, name):
            found.setdefault(served, []).append(name)
    return found


def _models_of(client: Any, endpoint: str) -> list[str]:
    described = none_if_missing(lambda: client.describe_endpoint(EndpointName=endpoint))
    config = described and none_if_missing(
        lambda: client.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
    )
    served = []
    for variant in (config or {}).get("ProductionVariants", ()):
        model = none_if_missing(partial(client.describe_model, ModelName=variant["ModelName"])) or {}
        container = model.get("PrimaryContainer") or {}
        served += [str(container[name]) for name in ("ModelPackageName", "ModelDataUrl") if container.get(name)]
    return served
