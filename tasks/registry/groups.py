"""The model package group of a dataset's name, which the runs on such datasets share.

It carries kennel's tag and no run's, so the last run that used it removes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.account.lookup import none_if_missing, shown_tags, tags_to_dict
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused, aws_boundary
from tasks.run.handle import Run, RunFolder
from tasks.run.record_store import Record
from tasks.run.records import DatasetRef

KIND = "model-package-group"


@dataclass(frozen=True)
class ChallengerOf(Record, file="challenger_of.json", called="champion's run", made_by="retrain"):
    """The run whose endpoint a run's model is trained for, and the group that the models of that endpoint are in."""

    service: str
    group: str


def group_of(run: RunFolder, dataset: DatasetRef) -> str:
    """Return the name of the group that a run's model belongs to.

    Raises:
        LedgerRefused: a record cannot be read.
    """
    challenger = run.find(ChallengerOf)
    return group_name(dataset.name) if challenger is None else challenger.group


def group_name(dataset_name: str) -> str:
    """Return the name of the group of a dataset's name; names that AWS has no letters for are cut to theirs."""
    return naming.resource_name(dataset_name or "data")


def ensure_group(run: Run, name: str) -> None:
    """Create the group, or adopt it.

    Raises:
        OwnershipRefused: a group of that name does not carry kennel's tag.
        AwsFailed: SageMaker refused.
    """
    with aws_boundary(f"model package group {name}"):
        arn = own_group(run.aws, name)
        if arn is not None:
            run.ledger.adopt(KIND, name, arn)
            return
        with run.ledger.create(KIND, name, lambda: own_group(run.aws, name)) as row:
            row.identifier = run.aws.client("sagemaker").create_model_package_group(
                ModelPackageGroupName=name,
                ModelPackageGroupDescription="Models that kennel trained on datasets of this name",
                Tags=[{"Key": naming.PROJECT_TAG, "Value": naming.PROJECT}],
            )["ModelPackageGroupArn"]


def describe_group(aws: Aws, name: str) -> Mapping[str, Any] | None:
    """Return DescribeModelPackageGroup's answer, or None without such a group.

    Raises:
        ClientError: SageMaker refused.
    """
    client = aws.client("sagemaker")
    found: Mapping[str, Any] | None = none_if_missing(
        lambda: client.describe_model_package_group(ModelPackageGroupName=name)
    )
    return found


def group_tags(aws: Aws, name: str, arn: str) -> Mapping[str, str]:
    """Return the tags of a group.

    Raises:
        ClientError: SageMaker refused.
    """
    list_tags = aws.client("sagemaker").list_tags
    what = f"{KIND} {name}"
    return shown_tags(aws, what, lambda: tags_to_dict(list_tags(ResourceArn=arn)["Tags"]))


def own_group(aws: Aws, name: str) -> str | None:
    """Return the ARN of a group of kennel's, or None without one of that name.

    Raises:
        OwnershipRefused: it does not carry kennel's tag.
        ClientError: SageMaker refused.
    """
    found = describe_group(aws, name)
    if found is None:
        return None
    arn = str(found["ModelPackageGroupArn"])
    if group_tags(aws, name, arn).get(naming.PROJECT_TAG) != naming.PROJECT:
        why = "it does not carry kennel's tag, so kennel did not create it"
        raise OwnershipRefused(f"{KIND} {name}", "it exists already", why, "stage the data under another name")
    return arn
