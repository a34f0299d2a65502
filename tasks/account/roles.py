"""The roles that a run creates: for its training job, its EC2 instances, its endpoint and its function.

Each policy names the run's own objects, log groups and endpoint and grants nothing else. A role that exists is adopted
when it carries the run's tags, and its policies are brought back to what is wanted; one that is not ours is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from tasks.account.images import image_account
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused, aws_boundary, is_not_found
from tasks.run.handle import Run
from tasks.run.records import DatasetRef, WeightsRef

POLICY_NAME = "kennel"
ROLE_NAME_LIMIT = 64

TRAINING_LOG_GROUP = "/aws/sagemaker/TrainingJobs"
TRAINING_METRICS_NAMESPACE = "/aws/sagemaker/TrainingJobs"

Statement = dict[str, Any]


@dataclass(frozen=True)
class RoleSpec:
    """A role as it has to be: who may assume it and its one inline policy."""

    name: str
    service: str
    statements: tuple[Statement, ...]
    description: str
    source_account: str | None = None

    @property
    def trust(self) -> dict[str, Any]:
        """The trust policy; `source_account` keeps other accounts' resources from using the role by proxy."""
        statement: Statement = {
            "Effect": "Allow",
            "Principal": {"Service": self.service},
            "Action": "sts:AssumeRole",
        }
        if self.source_account is not None:
            statement["Condition"] = {"StringEquals": {"aws:SourceAccount": self.source_account}}
        return {"Version": "2012-10-17", "Statement": [statement]}

    @property
    def policy(self) -> dict[str, Any]:
        """The inline policy."""
        return {"Version": "2012-10-17", "Statement": list(self.statements)}


def run_prefix(run_id: str) -> str:
    """Return the S3 prefix under which a run keeps its code, checkpoints and models (no slash at its end)."""
    return f"runs/{run_id}"


def training_role(aws: Aws, run_id: str, dataset: DatasetRef, weights: WeightsRef | None) -> RoleSpec:
    """Describe the training job's role: read its inputs, write its outputs, log, pull the image."""
    bucket, own = dataset.bucket, run_prefix(run_id)
    readable = [dataset.prefix, f"{own}/code"] + ([weights.prefix] if weights else [])
    writable = [f"{own}/output", f"{own}/checkpoints"]
    statements = (
        _objects("ReadInputs", ["s3:GetObject"], bucket, [*readable, f"{own}/checkpoints"]),
        _objects("WriteOutputs", ["s3:PutObject", "s3:AbortMultipartUpload"], bucket, writable),
        _listing(bucket, [*readable, *writable]),
        *_logs(aws, TRAINING_LOG_GROUP, ["logs:CreateLogGroup"]),
        _metrics(TRAINING_METRICS_NAMESPACE),
        *_pull(aws, "pytorch-training"),
    )
    name = naming.resource_name(run_id, "training", limit=ROLE_NAME_LIMIT)
    return RoleSpec(name, "sagemaker.amazonaws.com", statements, f"Training job of run {run_id}", aws.account_id)


def instance_role(run_id: str, dataset: DatasetRef, weights: WeightsRef | None) -> RoleSpec:
    """Describe the role of the run's EC2 instances: read its inputs, keep its checkpoints, nothing else.

    Code comes by SSH and the model goes the same way, so neither needs a right. EC2 knows no `aws:SourceAccount`.
    """
    bucket, checkpoints = dataset.bucket, f"{run_prefix(run_id)}/ec2/checkpoints"
    readable = [dataset.prefix, *([weights.prefix] if weights else []), checkpoints]
    statements = (
        _objects("ReadInputs", ["s3:GetObject"], bucket, readable),
        _objects("KeepCheckpoints", ["s3:PutObject", "s3:AbortMultipartUpload"], bucket, [checkpoints]),
        _listing(bucket, readable),
    )
    name = naming.resource_name(run_id, "instance", limit=ROLE_NAME_LIMIT)
    return RoleSpec(name, "ec2.amazonaws.com", statements, f"EC2 instances of run {run_id}")


def endpoint_role(aws: Aws, run_id: str, model_uri: str, log_group: str) -> RoleSpec:
    """Describe the endpoint's role: read that one model, write its own logs and metrics, pull the image."""
    bucket, _, key = model_uri.removeprefix("s3://").partition("/")
    statements = (
        {
            "Sid": "ReadModel",
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": [f"arn:aws:s3:::{bucket}/{key}"],
        },
        *_logs(aws, log_group),
        _metrics("/aws/sagemaker/Endpoints"),
        *_pull(aws, "pytorch-inference"),
    )
    name = naming.resource_name(run_id, "endpoint", limit=ROLE_NAME_LIMIT)
    return RoleSpec(name, "sagemaker.amazonaws.com", statements, f"Endpoint of run {run_id}", aws.account_id)


def function_role(aws: Aws, run_id: str, endpoint_arn: str, log_group: str) -> RoleSpec:
    """Describe the function's role: invoke this endpoint and write its own log group."""
    statements = (
        {
            "Sid": "InvokeThisEndpoint",
            "Effect": "Allow",
            "Action": ["sagemaker:InvokeEndpoint"],
            "Resource": [endpoint_arn],
        },
        *_logs(aws, log_group, describe=False),
    )
    name = naming.resource_name(run_id, "classify", limit=ROLE_NAME_LIMIT)
    return RoleSpec(name, "lambda.amazonaws.com", statements, f"Function of run {run_id}")


def ensure_role(run: Run, spec: RoleSpec) -> str:
    """Create the role, or adopt it and bring its policies back to the spec; return its ARN.

    Raises:
        OwnershipRefused: a role of that name exists and does not carry this run's tags.
        AwsFailed: IAM refused.
    """
    iam = run.aws.client("iam")
    with aws_boundary(f"role {spec.name}"):
        found = _find_role(iam, spec.name)
        if found is None:
            with run.ledger.create("role", spec.name) as row:
                row.identifier = arn = _create_role(iam, run.id, spec, run.aws.region)
        else:
            arn = str(found["Arn"])
            _refuse_foreign(found, run.id, run.aws.region)
            run.ledger.adopt("role", spec.name, arn)
            if found["AssumeRolePolicyDocument"] != spec.trust:
                iam.update_assume_role_policy(RoleName=spec.name, PolicyDocument=json.dumps(spec.trust))
        if _inline_policy(iam, spec.name) != spec.policy:
            iam.put_role_policy(RoleName=spec.name, PolicyName=POLICY_NAME, PolicyDocument=json.dumps(spec.policy))
    return arn


def ensure_log_group(run: Run, name: str, *, retention_days: int = 30) -> None:
    """Create a tagged log group that forgets after `retention_days`, or adopt it.

    Ours from the start, so that neither the endpoint's nor the function's role needs to create log groups.

    Raises:
        OwnershipRefused: a log group of that name exists and does not carry this run's tags.
        AwsFailed: CloudWatch Logs refused.
    """
    logs = run.aws.client("logs")
    with aws_boundary(f"log group {name}"):
        pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
        found = next((group for page in pages for group in page["logGroups"] if group["logGroupName"] == name), None)
        if found is None:
            with run.ledger.create("log-group", name) as row:
                logs.create_log_group(logGroupName=name, tags=run.aws.tags(run.id))
                row.identifier = name
        else:
            arn = found["arn"].removesuffix(":*")
            _refuse_foreign_group(name, logs.list_tags_for_resource(resourceArn=arn)["tags"], run.id)
            run.ledger.adopt("log-group", name, name)
        if found is None or found.get("retentionInDays") != retention_days:
            logs.put_retention_policy(logGroupName=name, retentionInDays=retention_days)


def _refuse_foreign_group(name: str, carried: Mapping[str, str], run_id: str) -> None:
    if any(carried.get(key) != value for key, value in naming.tags(run_id).items()):
        why = f"it does not carry the tags of run {run_id}, so it is somebody else's"
        raise OwnershipRefused(f"log group {name}", "it exists already", why, "kennel run --run-id <another name>")


def _find_role(iam: Any, name: str) -> Mapping[str, Any] | None:
    try:
        role: Mapping[str, Any] = iam.get_role(RoleName=name)["Role"]
    except ClientError as error:
        if is_not_found(error):
            return None
        raise
    return role


def _create_role(iam: Any, run_id: str, spec: RoleSpec, region: str) -> str:
    answer = iam.create_role(
        RoleName=spec.name,
        AssumeRolePolicyDocument=json.dumps(spec.trust),
        Description=spec.description,
        Tags=iam_tags(run_id, region),
    )
    return str(answer["Role"]["Arn"])


def iam_tags(run_id: str, region: str) -> list[dict[str, str]]:
    """Return the tags of a role or instance profile: the run's, and the region."""
    return [*naming.tag_list(run_id), {"Key": naming.REGION_TAG, "Value": region}]


def _refuse_foreign(role: Mapping[str, Any], run_id: str, region: str) -> None:
    look = f"aws iam get-role --role-name {role['RoleName']}"
    refuse_foreign_iam(f"role {role['RoleName']}", role.get("Tags", []), run_id, region=region, look=look)


def refuse_foreign_iam(
    where: str, tag_list: Iterable[Mapping[str, str]], run_id: str, *, region: str, look: str
) -> None:
    """Refuse a role or instance profile that is not this run's; IAM has one of a name for all regions.

    Raises:
        OwnershipRefused: it does not carry the run's tags, or the run made it in another region.
    """
    carried = {tag["Key"]: tag["Value"] for tag in tag_list}
    elsewhere = carried.get(naming.REGION_TAG, region)
    if any(carried.get(key) != value for key, value in naming.tags(run_id).items()):
        why = f"it does not carry the tags of run {run_id}, so it is somebody else's"
        raise OwnershipRefused(where, "it exists already", why, look)
    if elsewhere != region:
        why = f"run {run_id} has it in {elsewhere}, and IAM's names are the same in every region"
        raise OwnershipRefused(where, "it exists already", why, "kennel run --run-id <another name>")


def _inline_policy(iam: Any, name: str) -> Mapping[str, Any] | None:
    try:
        document: Mapping[str, Any] = iam.get_role_policy(RoleName=name, PolicyName=POLICY_NAME)["PolicyDocument"]
    except ClientError as error:
        if is_not_found(error):
            return None
        raise
    return document


def _objects(sid: str, actions: list[str], bucket: str, prefixes: list[str]) -> Statement:
    resources = [f"arn:aws:s3:::{bucket}/{prefix}/*" for prefix in prefixes]
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def _listing(bucket: str, prefixes: list[str]) -> Statement:
    return {
        "Sid": "ListOwnPrefixes",
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}"],
        "Condition": {"StringLike": {"s3:prefix": [f"{prefix}/*" for prefix in prefixes]}},
    }


def _logs(aws: Aws, group: str, more: list[str] | None = None, *, describe: bool = True) -> tuple[Statement, ...]:
    arn = f"arn:aws:logs:{aws.region}:{aws.account_id}:log-group:{group}"
    actions = ["logs:CreateLogStream", "logs:PutLogEvents", *(["logs:DescribeLogStreams"] if describe else [])]
    return (
        {"Sid": "WriteLogs", "Effect": "Allow", "Action": [*actions, *(more or [])], "Resource": [arn, f"{arn}:*"]},
    )


def _metrics(namespace: str) -> Statement:
    return {
        "Sid": "PutMetrics",
        "Effect": "Allow",
        "Action": ["cloudwatch:PutMetricData"],
        "Resource": ["*"],  # PutMetricData knows no resources; the namespace is the only bound there is
        "Condition": {"StringEquals": {"cloudwatch:namespace": namespace}},
    }


def _pull(aws: Aws, repository: str) -> tuple[Statement, ...]:
    arn = f"arn:aws:ecr:{aws.region}:{image_account(aws.region)}:repository/{repository}"
    layers = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    return (
        {"Sid": "PullImage", "Effect": "Allow", "Action": layers, "Resource": [arn]},
        {"Sid": "RegistryLogin", "Effect": "Allow", "Action": ["ecr:GetAuthorizationToken"], "Resource": ["*"]},
    )
