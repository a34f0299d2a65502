"""Say what each role of a run may do, and who may assume it: training job, EC2 instances, endpoint and function.

Each policy grants access to the run's own objects, log groups and endpoint and to nothing else. `tasks.account.roles`
makes the roles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.account.container_images import training_image
from tasks.account.objects import bucket_and_key
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, WeightsRef
from tasks.run.vpc_config import LAMBDA_VPC_ACTIONS, SAGEMAKER_VPC_ACTIONS

ROLE_NAME_LIMIT = 64

TRAINING_LOG_GROUP = "/aws/sagemaker/TrainingJobs"
PROCESSING_LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
TRAINING_METRICS_NAMESPACE = "/aws/sagemaker/TrainingJobs"
SEAL = ["kms:Decrypt", "kms:GenerateDataKey"]
WRITE_STREAM = ["logs:CreateLogStream", "logs:PutLogEvents"]

Statement = dict[str, Any]


@dataclass(frozen=True)
class RoleSpec:
    """The wanted state of a role: the service that may assume it, and its one inline policy.

    With `source_account` and `source_arn`, the service may use it only for resources of that account, and of that
    ARN or of one of those.
    """

    name: str
    service: str
    statements: tuple[Statement, ...]
    description: str
    source_account: str | None = None
    source_arn: str | tuple[str, ...] | None = None

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
            source = self.source_arn if isinstance(self.source_arn, str) else list(self.source_arn)
            statement.setdefault("Condition", {})["ArnLike"] = {"aws:SourceArn": source}
        return {"Version": "2012-10-17", "Statement": [statement]}

    @property
    def policy(self) -> dict[str, Any]:
        """The inline policy."""
        return {"Version": "2012-10-17", "Statement": list(self.statements)}


def role_name(run_id: str, use: str) -> str:
    """Return the name of a run's role for a use: "training", "instance", "load", "endpoint", "classify", "notebook"."""
    return naming.resource_name(run_id, use, limit=ROLE_NAME_LIMIT)


def run_prefix(run_id: str) -> str:
    """Return the S3 prefix of a run's code, checkpoints and models, without a slash at its end."""
    return f"runs/{run_id}"


def staging_prefix(run_id: str) -> str:
    """Return the S3 prefix in which the jobs work that stage a run's data, without a slash at its end."""
    return f"{run_prefix(run_id)}/staging"


def captured_prefix(run_id: str) -> str:
    """Return the S3 prefix of the requests and answers that a run's endpoint keeps, without a slash at its end."""
    return f"{run_prefix(run_id)}/captured"


def training_role(
    aws: Aws,
    run_id: str,
    dataset: DatasetRef,
    weights: WeightsRef | None,
    *,
    keeps_checkpoints: bool = False,
    in_vpc: bool = False,
    key_arn: str | None = None,
    tuning: str | None = None,
) -> RoleSpec:
    """Describe the training jobs' role: it may read its inputs, write its outputs and logs, and pull its image.

    Each attempt of a job has a name and log streams of its own; those of other runs are out of reach. Only jobs on spot
    capacity keep checkpoints. `tuning` is how the names of the run's tuning jobs begin, None without any.

    Raises:
        SettingsRefused: the account of AWS's images in this region is not known.
        TargetRefused, AwsFailed: the caller's account could not be read, or is not the one that the user named.
    """
    bucket, own = dataset.bucket, run_prefix(run_id)
    readable = [dataset.prefix, f"{own}/code"] + ([weights.prefix] if weights else [])
    readable += [f"{own}/features"] if tuning else []
    written = [f"{own}/output", *([f"{own}/features", f"{own}/trials"] if tuning else [])]
    train = naming.resource_name(run_id, "train")
    names = [train, *([f"{train}-features"] if tuning else [])]
    checkpoints = [f"{own}/checkpoints"] if keeps_checkpoints else []
    statements = (
        _objects(aws, "ReadInputs", ["s3:GetObject"], bucket, [*readable, *checkpoints]),
        _objects(aws, "WriteOutputs", ["s3:PutObject"], bucket, [*written, *checkpoints]),
        list_statement(aws, "ListInputs", bucket, [*readable, *checkpoints]),
        *_write_own_streams(aws, names, tuning),
        _put_metrics(TRAINING_METRICS_NAMESPACE),
        *_pull_image(aws, training_image(aws.region, has_gpu=False)),
        *(_join_vpc(SAGEMAKER_VPC_ACTIONS) if in_vpc else ()),
        *_use_key(aws, key_arn, [*SEAL, "kms:Encrypt"], has_volume=True),
    )
    name, text = role_name(run_id, "training"), f"Training job of run {run_id}"
    jobs = [aws.arn("sagemaker", f"training-job/{train}-*")]
    if tuning:
        jobs += [aws.arn("sagemaker", f"{kind}/{tuning}*") for kind in ("training-job", "hyper-parameter-tuning-job")]
    source = tuple(jobs) if tuning else jobs[0]
    return RoleSpec(name, "sagemaker.amazonaws.com", statements, text, aws.account_id, source)


def staging_role(
    aws: Aws, run_id: str, place: str, *, bucket: str, in_vpc: bool = False, key_arn: str | None = None
) -> RoleSpec:
    """Describe the role of the jobs that stage data: it may read the source, and work below the run's prefix.

    `place` is the source: a bucket with the archive's key, or with a prefix that ends in a slash. Shards too are
    written below the run's prefix; the machine that started the job copies them to the dataset.

    Raises:
        SettingsRefused: the account of AWS's images in this region is not known.
        TargetRefused, AwsFailed: the caller's account could not be read, or is not the one that the user named.
    """
    area, stage = staging_prefix(run_id), naming.resource_name(run_id, "stage")
    source = aws.arn("s3", literal(place) + ("*" if place.endswith("/") else ""))
    statements = (
        {"Sid": "ReadSource", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [source]},
        _open_source(aws, [source, aws.arn("s3", place.partition("/")[0])]),
        _objects(aws, "WorkInArea", ["s3:GetObject", "s3:PutObject"], bucket, [area]),
        list_statement(aws, "ListArea", bucket, [area]),
        *_write_own_streams(aws, [stage], None, PROCESSING_LOG_GROUP),
        *_pull_image(aws, training_image(aws.region, has_gpu=False)),
        *(_join_vpc(SAGEMAKER_VPC_ACTIONS) if in_vpc else ()),
        *_use_key(aws, key_arn, [*SEAL, "kms:Encrypt"], has_volume=True),
    )
    name, text = role_name(run_id, "staging"), f"Staging job of run {run_id}"
    jobs = aws.arn("sagemaker", f"processing-job/{stage}-*")
    return RoleSpec(name, "sagemaker.amazonaws.com", statements, text, aws.account_id, jobs)


def instance_role(
    aws: Aws,
    run_id: str,
    dataset: DatasetRef,
    weights: WeightsRef | None,
    *,
    keeps_checkpoints: bool = False,
    key_arn: str | None = None,
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
    statements = (
        _objects(aws, "ReadInputs", ["s3:GetObject"], bucket, readable),
        *(keep if checkpoints else ()),
        *_use_key(aws, key_arn, SEAL if checkpoints else SEAL[:1]),
    )
    name = role_name(run_id, "instance")
    return RoleSpec(name, "ec2.amazonaws.com", statements, f"EC2 instances of run {run_id}")


def load_role(run_id: str, target: EndpointRef | FunctionRef) -> RoleSpec:
    """Describe the role of the EC2 instances that load-test a target: they may invoke it, and nothing else."""
    if isinstance(target, EndpointRef):
        sid, action, resource = "InvokeThisEndpoint", "sagemaker:InvokeEndpoint", target.arn
    else:
        sid, action, resource = "InvokeThisFunction", "lambda:InvokeFunction", target.alias_arn
    statement: Statement = {"Sid": sid, "Effect": "Allow", "Action": [action], "Resource": [resource]}
    return RoleSpec(role_name(run_id, "load"), "ec2.amazonaws.com", (statement,), f"Load generators of run {run_id}")


def endpoint_role(
    aws: Aws,
    run_id: str,
    model_uris: Sequence[str],
    log_group: str,
    *,
    image: str,
    in_vpc: bool = False,
    key_arn: str | None = None,
    captures: bool = False,
    alarms: str | None = None,
) -> RoleSpec:
    """Describe the endpoint's role: it may read its models, write its logs and metrics, and pull its `image`.

    With `captures`, it may also write what is kept of requests, below the run's prefix; with `alarms`, look at those
    whose names begin so, as AWS asks for an update that they take back.
    For endpoints, SageMaker allows no narrower `aws:SourceArn` than that of everything in the region
    (https://docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html).

    Raises:
        SettingsRefused: the account of AWS's images in this region is not known.
        MalformedAnswer: a model is no object of S3.
        TargetRefused, AwsFailed: the caller's account could not be read, or is not the one that the user named.
    """
    found = [bucket_and_key(uri) for uri in model_uris]
    archives, bucket = [aws.arn("s3", "/".join(each)) for each in found], found[0][0]
    statements = (
        {"Sid": "ReadModel", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": archives},
        *([_objects(aws, "KeepRequests", ["s3:PutObject"], bucket, [captured_prefix(run_id)])] if captures else []),
        *_write_logs(aws, log_group),
        *(_watch(aws, alarms) if alarms else ()),
        _put_metrics("/aws/sagemaker/Endpoints"),
        *_pull_image(aws, image),
        *(_join_vpc(SAGEMAKER_VPC_ACTIONS) if in_vpc else ()),
        *_use_key(aws, key_arn, SEAL if captures else SEAL[:1], has_volume=True),
    )
    name = role_name(run_id, "endpoint")
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
    name = role_name(run_id, "classify")
    return RoleSpec(name, "lambda.amazonaws.com", statements, f"Function of run {run_id}")


def _objects(aws: Aws, sid: str, actions: list[str], bucket: str, prefixes: list[str]) -> Statement:
    resources = [aws.arn("s3", f"{bucket}/{prefix}/*") for prefix in prefixes]
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def literal(text: str) -> str:
    """Return a text as the end of an ARN in a policy, where *, ? and $ mean something else.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    return re.sub(r"[*?$]", lambda found: f"${{{found[0]}}}", text)


def _open_source(aws: Aws, arns: list[str]) -> Statement:
    """Return the statement for objects of a source that a key of the account encrypts.

    S3 names the object to KMS, or its bucket if that has a bucket key.
    """
    return {
        "Sid": "OpenSource",
        "Effect": "Allow",
        "Action": ["kms:Decrypt"],
        "Resource": [aws.arn("kms", "key/*")],
        "Condition": {
            "StringLike": {"kms:ViaService": f"s3.{aws.region}.*"},
            "StringLikeIfExists": {"kms:EncryptionContext:aws:s3:arn": arns},
        },
    }


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


def _write_own_streams(
    aws: Aws, jobs: Iterable[str], tuning: str | None, log_group: str = TRAINING_LOG_GROUP
) -> tuple[Statement, ...]:
    """Return the statements for the streams of jobs named by a digest of 8 characters, and of up to 99 attempts.

    A tuning job's name has such a digest too, and its training jobs' names go on with their number.
    """
    group = aws.arn("logs", f"log-group:{log_group}")
    streams = [f"{group}:log-stream:{job}-{'?' * 8}{attempt}/*" for job in jobs for attempt in ("", "-?", "-??")]
    streams += [f"{group}:log-stream:{tuning}{'?' * 8}-*/*"] if tuning else []
    shared = ["logs:CreateLogGroup", "logs:DescribeLogStreams"]
    return (
        {"Sid": "LogGroup", "Effect": "Allow", "Action": shared, "Resource": [group, f"{group}:*"]},
        {"Sid": "WriteLogs", "Effect": "Allow", "Action": WRITE_STREAM, "Resource": streams},
    )


def _watch(aws: Aws, prefix: str) -> tuple[Statement, ...]:
    alarms = [aws.arn("cloudwatch", f"alarm:{prefix}*")]
    return ({"Sid": "WatchUpdates", "Effect": "Allow", "Action": ["cloudwatch:DescribeAlarms"], "Resource": alarms},)


def _put_metrics(namespace: str) -> Statement:
    return {
        "Sid": "PutMetrics",
        "Effect": "Allow",
        "Action": ["cloudwatch:PutMetricData"],
        "Resource": ["*"],  # PutMetricData supports no resources; only the namespace can be restricted
        "Condition": {"StringEquals": {"cloudwatch:namespace": namespace}},
    }


def _use_key(aws: Aws, key_arn: str | None, actions: list[str], *, has_volume: bool = False) -> tuple[Statement, ...]:
    """Return the statements for the key of objects, through S3 only, and of volumes, by grants of AWS's services only.

    Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html (kms:Decrypt of inputs, kms:Encrypt of
    outputs, kms:CreateGrant of volumes) and botocore's model of S3 (kms:GenerateDataKey, kms:Decrypt for parts).
    """
    if key_arn is None:
        return ()
    through = {"StringLike": {"kms:ViaService": f"s3.{aws.region}.*"}}
    key = {"Effect": "Allow", "Resource": [key_arn]}
    objects = {"Sid": "UseKey", "Action": actions, "Condition": through, **key}
    granted = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    volumes = {"Sid": "SealVolumes", "Action": ["kms:CreateGrant"], "Condition": granted, **key}
    return (objects, volumes) if has_volume else (objects,)


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
