"""Create the IAM roles of a run: for its training job, its EC2 instances, its endpoint and its function.

Each policy grants access to the run's own objects, log groups and endpoint and to nothing else. An existing role with
the run's tags is adopted, and its policies are set to the wanted ones again. A role without those tags is not changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.account.container_images import training_image
from tasks.account.lookup import none_if_missing, refuse_foreign, tags_to_dict
from tasks.account.objects import bucket_and_key
from tasks.account.policy_documents import NotAPolicy, read_policy
from tasks.account.role_boundary import find_boundary, put_boundary
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import MalformedAnswer, OwnershipRefused, aws_boundary
from tasks.run.handle import Run
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.records import DatasetRef, WeightsRef
from tasks.run.vpc_config import LAMBDA_VPC_ACTIONS, SAGEMAKER_VPC_ACTIONS
from tasks.run.waiting import retry_until_known

POLICY_NAME = "kennel"
ROLE_NAME_LIMIT = 64

TRAINING_LOG_GROUP = "/aws/sagemaker/TrainingJobs"
TRAINING_METRICS_NAMESPACE = "/aws/sagemaker/TrainingJobs"
WRITE_STREAM = ["logs:CreateLogStream", "logs:PutLogEvents"]

Statement = dict[str, Any]


@dataclass(frozen=True)
class RoleSpec:
    """The wanted state of a role: the service that may assume it, and its one inline policy.

    With `source_account` and `source_arn`, the service may use it only for resources of that account, and of that ARN.
    """

    name: str
    service: str
    statements: tuple[Statement, ...]
    description: str
    source_account: str | None = None
    source_arn: str | None = None

    @property
    def trust(self) -> dict[str, Any]:
        """The trust policy."""
        statement: Statement = {
            "Effect": "Allow",
            "Principal": {"Service": self.service},
            "Action": "sts:AssumeRole",
        }
        if self.source_account is not None:
            statement["Condition"] = {"StringEquals": {"aws:SourceAccount": self.source_account}}
        if self.source_arn is not None:
            statement.setdefault("Condition", {})["ArnLike"] = {"aws:SourceArn": self.source_arn}
        return {"Version": "2012-10-17", "Statement": [statement]}

    @property
    def policy(self) -> dict[str, Any]:
        """The inline policy."""
        return {"Version": "2012-10-17", "Statement": list(self.statements)}


def run_prefix(run_id: str) -> str:
    """Return the S3 prefix of a run's code, checkpoints and models, without a slash at its end."""
    return f"runs/{run_id}"


def training_role(
    aws: Aws,
    run_id: str,
    dataset: DatasetRef,
    weights: WeightsRef | None,
    *,
    keeps_checkpoints: bool = False,
    in_vpc: bool = False,
) -> RoleSpec:
    """Describe the training jobs' role: it may read its inputs, write its outputs and logs, and pull its image.

    Each attempt of a job has a name and log streams of its own; those of other runs are out of reach. Only jobs on spot
    capacity keep checkpoints.

    Raises:
        SettingsRefused: the account of AWS's images in this region is not known.
        TargetRefused, AwsFailed: the caller's account could not be read, or is not the one that the user named.
    """
    bucket, own = dataset.bucket, run_prefix(run_id)
    readable = [dataset.prefix, f"{own}/code"] + ([weights.prefix] if weights else [])
    checkpoints = [f"{own}/checkpoints"] if keeps_checkpoints else []
    statements = (
        _objects(aws, "ReadInputs", ["s3:GetObject"], bucket, [*readable, *checkpoints]),
        _objects(aws, "WriteOutputs", ["s3:PutObject"], bucket, [f"{own}/output", *checkpoints]),
        list_statement(aws, "ListInputs", bucket, [*readable, *checkpoints]),
        *_write_own_streams(aws, naming.resource_name(run_id, "train")),
        _put_metrics(TRAINING_METRICS_NAMESPACE),
        *_pull_image(aws, training_image(aws.region, has_gpu=False)),
        *(_join_vpc(SAGEMAKER_VPC_ACTIONS) if in_vpc else ()),
    )
    name, text = naming.resource_name(run_id, "training", limit=ROLE_NAME_LIMIT), f"Training job of run {run_id}"
    jobs = aws.arn("sagemaker", f"training-job/{naming.resource_name(run_id, 'train')}-*")
    return RoleSpec(name, "sagemaker.amazonaws.com", statements, text, aws.account_id, jobs)


def instance_role(
    aws: Aws, run_id: str, dataset: DatasetRef, weights: WeightsRef | None, *, keeps_checkpoints: bool = False
) -> RoleSpec:
    """Describe the role of the run's EC2 instances: they may read their inputs; spot ones also keep checkpoints.

    Code and model are transferred over SSH, so they need no permission. EC2 does not support `aws:SourceAccount`.
    """
    bucket, checkpoints = dataset.bucket, [f"{run_prefix(run_id)}/ec2/checkpoints"] if keeps_checkpoints else []
    readable = [dataset.prefix, *([weights.prefix] if weights else []), *checkpoints]
    keep = (
        _objects(aws, "KeepCheckpoints", ["s3:PutObject", "s3:AbortMultipartUpload"], bucket, checkpoints),
        list_statement(aws, "ListCheckpoints", bucket, checkpoints),
    )
    statements = (_objects(aws, "ReadInputs", ["s3:GetObject"], bucket, readable), *(keep if checkpoints else ()))
    name = naming.resource_name(run_id, "instance", limit=ROLE_NAME_LIMIT)
    return RoleSpec(name, "ec2.amazonaws.com", statements, f"EC2 instances of run {run_id}")


def endpoint_role(
    aws: Aws, run_id: str, model_uri: str, log_group: str, *, image: str, in_vpc: bool = False
) -> RoleSpec:
    """Describe the endpoint's role: it may read its model, write its logs and metrics, and pull its `image`.

    For endpoints, SageMaker allows no narrower `aws:SourceArn` than that of everything in the region
    (https://docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html).

    Raises:
        SettingsRefused: the account of AWS's images in this region is not known.
        MalformedAnswer: the model is no object of S3.
        TargetRefused, AwsFailed: the caller's account could not be read, or is not the one that the user named.
    """
    bucket, key = bucket_and_key(model_uri)
    statements = (
        {
            "Sid": "ReadModel",
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": [aws.arn("s3", f"{bucket}/{key}")],
        },
        *_write_logs(aws, log_group),
        _put_metrics("/aws/sagemaker/Endpoints"),
        *_pull_image(aws, image),
        *(_join_vpc(SAGEMAKER_VPC_ACTIONS) if in_vpc else ()),
    )
    name = naming.resource_name(run_id, "endpoint", limit=ROLE_NAME_LIMIT)
    text, source = f"Endpoint of run {run_id}", aws.arn("sagemaker", "*")
    return RoleSpec(name, "sagemaker.amazonaws.com", statements, text, aws.account_id, source)


def function_role(aws: Aws, run_id: str, endpoint_arn: str, log_group: str, *, in_vpc: bool = False) -> RoleSpec:
    """Describe the function's role: it may invoke this endpoint, write to its own log group and join a VPC."""
    statements = (
        {
            "Sid": "InvokeThisEndpoint",
            "Effect": "Allow",
            "Action": ["sagemaker:InvokeEndpoint"],
            "Resource": [endpoint_arn],
        },
        *_write_logs(aws, log_group, describe=False),
        *(_join_vpc(LAMBDA_VPC_ACTIONS) if in_vpc else ()),
    )
    name = naming.resource_name(run_id, "classify", limit=ROLE_NAME_LIMIT)
    return RoleSpec(name, "lambda.amazonaws.com", statements, f"Function of run {run_id}")


def ensure_role(run: Run, spec: RoleSpec) -> str:
    """Create the role, or adopt it and set its policies to those of the spec; return its ARN.

    It has the account's boundary of kennel's roles, if there is one.

    Raises:
        OwnershipRefused: a role of that name exists and does not have this run's tags.
        AwsFailed: IAM refused a call, or did not answer.
    """
    iam = run.aws.client("iam")
    with aws_boundary(f"role {spec.name}"):
        found, boundary = _own_role(run, spec.name), find_boundary(run.aws)
        if found is None:
            with run.ledger.create("role", spec.name, lambda: _arn(_own_role(run, spec.name))) as row:
                row.identifier = _create_role(iam, run.id, spec, run.aws.region, boundary)
            arn = str(row.identifier)
        else:
            arn = str(found["Arn"])
            run.ledger.adopt("role", spec.name, arn)
            put_boundary(iam, found, boundary)
            if found["AssumeRolePolicyDocument"] != spec.trust:
                trust = {"RoleName": spec.name, "PolicyDocument": json.dumps(spec.trust)}
                repeated_if_lost(lambda: iam.update_assume_role_policy(**trust))
        if role_policy(iam, spec.name) != spec.policy:
            retry_until_known(run.aws.target, f"role {spec.name}", lambda: put_policy(iam, spec.name, spec.policy))
    return arn


def ensure_log_group(run: Run, name: str, *, retention_days: int = 30) -> None:
    """Create a tagged log group that keeps lines for `retention_days`, or adopt it.

    Because it exists before the endpoint and the function, their roles need no permission to create log groups.

    Raises:
        OwnershipRefused: a log group of that name exists and does not have this run's tags.
        AwsFailed: CloudWatch Logs refused a call, or did not answer.
    """
    logs = run.aws.client("logs")
    with aws_boundary(f"log group {name}"):
        found = _own_log_group(run, name)
        if found is None:
            with run.ledger.create("log-group", name, lambda: name if _own_log_group(run, name) else None) as row:
                logs.create_log_group(logGroupName=name, tags=run.aws.tags(run.id))
                row.identifier = name
        else:
            run.ledger.adopt("log-group", name, name)
        if found is None or found.get("retentionInDays") != retention_days:
            repeated_if_lost(lambda: logs.put_retention_policy(logGroupName=name, retentionInDays=retention_days))


def _own_log_group(run: Run, name: str) -> Mapping[str, Any] | None:
    """Return the log group of that name, or None; refuse one without this run's tags."""
    logs = run.aws.client("logs")
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
    groups = (group for page in pages for group in page["logGroups"] if group["logGroupName"] == name)
    found: Mapping[str, Any] | None = next(groups, None)
    if found is not None:
        arn = found["arn"].removesuffix(":*")
        refuse_foreign(f"log group {name}", logs.list_tags_for_resource(resourceArn=arn)["tags"], run.id)
    return found


def _own_role(run: Run, name: str) -> Mapping[str, Any] | None:
    """Return the role of that name, or None; refuse one that does not belong to this run in this region."""
    iam = run.aws.client("iam")
    answer: Mapping[str, Any] | None = none_if_missing(lambda: iam.get_role(RoleName=name))
    if answer is None:
        return None
    look = run.aws.cli(f"iam get-role --role-name {name}")
    tags = answer["Role"].get("Tags", [])
    refuse_foreign_iam(f"role {name}", tags, run.id, region=run.aws.region, look=look)
    role: Mapping[str, Any] = answer["Role"]
    return role


def _arn(found: Mapping[str, Any] | None) -> str | None:
    return None if found is None else str(found["Arn"])


def _create_role(iam: Any, run_id: str, spec: RoleSpec, region: str, boundary: str | None) -> str:
    answer = iam.create_role(
        RoleName=spec.name,
        AssumeRolePolicyDocument=json.dumps(spec.trust),
        Description=spec.description,
        Tags=iam_tags(run_id, region),
        **({} if boundary is None else {"PermissionsBoundary": boundary}),
    )
    return str(answer["Role"]["Arn"])


def iam_tags(run_id: str, region: str) -> list[dict[str, str]]:
    """Return the tags of a role or instance profile: those of the run, and the region."""
    return [*naming.tag_list(run_id), {"Key": naming.REGION_TAG, "Value": region}]


def refuse_foreign_iam(
    where: str, tag_list: Iterable[Mapping[str, str]], run_id: str, *, region: str, look: str
) -> None:
    """Refuse a role or instance profile that does not belong to this run in this region.

    IAM has one namespace for all regions, so the tags also name the region.

    Raises:
        OwnershipRefused: it does not have the run's tags, or the run created it in another region.
    """
    found = tags_to_dict(tag_list)
    refuse_foreign(where, found, run_id, next_command=look)
    elsewhere = found.get(naming.REGION_TAG, region)
    if elsewhere != region:
        why = f"run {run_id} uses it in {elsewhere}, and IAM names are shared by all regions"
        raise OwnershipRefused(where, "it exists already", why, "run the same command with --run-id <another name>")


def put_policy(iam: Any, name: str, policy: Mapping[str, Any]) -> None:
    """Set kennel's policy of a role.

    Raises:
        ClientError, BotoCoreError: IAM refused the call, or did not answer; the caller translates it.
    """
    wanted = {"RoleName": name, "PolicyName": POLICY_NAME, "PolicyDocument": json.dumps(policy)}
    repeated_if_lost(lambda: iam.put_role_policy(**wanted))


def role_policy(iam: Any, name: str) -> Mapping[str, Any] | None:
    """Return kennel's policy of a role, None if there is no such role or policy.

    Raises:
        MalformedAnswer: what IAM gave is no policy.
        ClientError: IAM refused the call; the caller translates it.
    """
    answer = none_if_missing(lambda: iam.get_role_policy(RoleName=name, PolicyName=POLICY_NAME))
    try:
        return None if answer is None else read_policy(answer["PolicyDocument"])
    except NotAPolicy as error:
        what, why = f"GetRolePolicy answered with what is no policy: {error}", "kennel acts only on what it can read"
        look = "look at what answers there (curl -i), then run the same command again"
        raise MalformedAnswer(f"role {name}", what, why, look, is_reading=True) from error


def _objects(aws: Aws, sid: str, actions: list[str], bucket: str, prefixes: list[str]) -> Statement:
    resources = [aws.arn("s3", f"{bucket}/{prefix}/*") for prefix in prefixes]
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def list_statement(aws: Aws, sid: str, bucket: str, prefixes: list[str]) -> Statement:
    """Return the policy statement that allows listing a bucket's objects under some prefixes."""
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": [aws.arn("s3", bucket)],
        "Condition": {"StringLike": {"s3:prefix": [f"{prefix}/*" for prefix in prefixes]}},
    }


def _write_logs(aws: Aws, group: str, *, describe: bool = True) -> tuple[Statement, ...]:
    arn = aws.arn("logs", f"log-group:{group}")
    actions = [*WRITE_STREAM, *(["logs:DescribeLogStreams"] if describe else [])]
    return ({"Sid": "WriteLogs", "Effect": "Allow", "Action": actions, "Resource": [arn, f"{arn}:*"]},)


def _write_own_streams(aws: Aws, job: str) -> tuple[Statement, ...]:
    """Return the statements for the streams of jobs named by a digest of 8 characters, and of up to 99 attempts."""
    group = aws.arn("logs", f"log-group:{TRAINING_LOG_GROUP}")
    streams = [f"{group}:log-stream:{job}-{'?' * 8}{attempt}/*" for attempt in ("", "-?", "-??")]
    shared = ["logs:CreateLogGroup", "logs:DescribeLogStreams"]
    return (
        {"Sid": "LogGroup", "Effect": "Allow", "Action": shared, "Resource": [group, f"{group}:*"]},
        {"Sid": "WriteLogs", "Effect": "Allow", "Action": WRITE_STREAM, "Resource": streams},
    )


def _put_metrics(namespace: str) -> Statement:
    return {
        "Sid": "PutMetrics",
        "Effect": "Allow",
        "Action": ["cloudwatch:PutMetricData"],
        "Resource": ["*"],  # PutMetricData supports no resources; only the namespace can be restricted
        "Condition": {"StringEquals": {"cloudwatch:namespace": namespace}},
    }


def _join_vpc(actions: Iterable[str]) -> tuple[Statement, ...]:
    """Return the statement for a network interface in a VPC; like AWS's own policies, it names no resource."""
    return ({"Sid": "JoinVpc", "Effect": "Allow", "Action": [f"ec2:{each}" for each in actions], "Resource": ["*"]},)


def _pull_image(aws: Aws, image: str) -> tuple[Statement, ...]:
    host, _, name = image.partition("/")
    repository = re.split("[:@]", name)[0]
    arn = aws.arn("ecr", f"repository/{repository}", account_id=host.partition(".")[0])
    layers = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    return (
        {"Sid": "PullImage", "Effect": "Allow", "Action": layers, "Resource": [arn]},
        {"Sid": "RegistryLogin", "Effect": "Allow", "Action": ["ecr:GetAuthorizationToken"], "Resource": ["*"]},
    )
