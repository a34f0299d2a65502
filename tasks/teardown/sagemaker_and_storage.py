"""How each kind of resource is looked up, found by its tags, and removed.

A kind is three functions, in one table at the end of this module: `look` (does it exist now, with which tags), `search`
(everything of this kind that has kennel's project tag) and `remove` (returns when it is gone; a thing that is gone
already is fine). Only this module and those whose kinds it collects delete anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.account import objects
from tasks.account.bucket import OWNED_PREFIXES, bucket_tags
from tasks.account.lookup import none_if_missing, tags_to_dict
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.naming import RESOURCE_PREFIX
from tasks.teardown.ec2 import INSTANCE_KINDS
from tasks.teardown.kinds import Kind, tagged, until_gone
from tasks.teardown.notebook import NOTEBOOK_KINDS
from tasks.teardown.plan import Found
from tasks.teardown.scaling import SCALING_KINDS, deregister_targets, remove_provisioned_of

TRAINING_LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_LOG_PREFIXES = (f"/aws/lambda/{RESOURCE_PREFIX}", f"/aws/sagemaker/Endpoints/{RESOURCE_PREFIX}")
_ENDED = frozenset({"Completed", "Failed", "Stopped"})


# --- SageMaker --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _SageMakerKind:
    """Endpoints, configs, models and training jobs differ in names only."""

    kind: str
    noun: str
    arn_field: str
    list_field: str

    def describe(self, aws: Aws, name: str) -> Any:
        call = getattr(aws.client("sagemaker"), f"describe_{self.noun}")
        field = "".join(word.capitalize() for word in self.noun.split("_")) + "Name"
        return none_if_missing(lambda: call(**{field: name}))

    def look(self, aws: Aws, name: str) -> Found | None:
        found = self.describe(aws, name)
        if found is None:
            return None
        tags = none_if_missing(lambda: aws.client("sagemaker").list_tags(ResourceArn=found[self.arn_field])["Tags"])
        return Found(self.kind, name, tags_to_dict(tags or []))

    def search(self, aws: Aws) -> Iterator[Found]:
        pages = aws.client("sagemaker").get_paginator(f"list_{self.noun}s").paginate(NameContains=RESOURCE_PREFIX)
        name_field = self.arn_field.replace("Arn", "Name")
        names = [item[name_field] for page in pages for item in page[self.list_field]]
        return tagged(self.look(aws, name) for name in names)

    def remove(self, aws: Aws, name: str) -> None:
        delete = getattr(aws.client("sagemaker"), f"delete_{self.noun}")
        field = self.arn_field.replace("Arn", "Name")
        until_gone(f"{self.kind} {name}", lambda: delete(**{field: name}), lambda: self.describe(aws, name) is not None)


_ENDPOINT = _SageMakerKind("endpoint", "endpoint", "EndpointArn", "Endpoints")
_CONFIG = _SageMakerKind("endpoint-config", "endpoint_config", "EndpointConfigArn", "EndpointConfigs")
_MODEL = _SageMakerKind("model", "model", "ModelArn", "Models")
_JOB = _SageMakerKind("training-job", "training_job", "TrainingJobArn", "TrainingJobSummaries")


def _remove_endpoint(aws: Aws, name: str) -> None:
    """Deregister the endpoint's scalable targets, which takes their policies and alarms along, then delete it."""
    deregister_targets(aws, name)
    _ENDPOINT.remove(aws, name)


def _look_job(aws: Aws, name: str) -> Found | None:
    """A job that ended costs nothing and cannot be deleted: it exists for a teardown only while it runs or has logs."""
    found = _JOB.describe(aws, name)
    if found is None or (found["TrainingJobStatus"] in _ENDED and not _job_streams(aws, name)):
        return None
    return _JOB.look(aws, name)


def _search_jobs(aws: Aws) -> Iterator[Found]:
    pages = aws.client("sagemaker").get_paginator("list_training_jobs").paginate(NameContains=RESOURCE_PREFIX)
    names = [item["TrainingJobName"] for page in pages for item in page["TrainingJobSummaries"]]
    return tagged(_look_job(aws, name) for name in names)


def _stop_job(aws: Aws, name: str) -> None:
    """Stop a training job, wait until it has ended, and delete its log streams from the shared group."""
    sagemaker = aws.client("sagemaker")

    def status() -> str:
        return str((_JOB.describe(aws, name) or {"TrainingJobStatus": "Stopped"})["TrainingJobStatus"])

    def stop() -> None:
        if status() == "InProgress":
            sagemaker.stop_training_job(TrainingJobName=name)

    until_gone(f"training-job {name}", stop, lambda: status() not in _ENDED)
    for stream in _job_streams(aws, name):
        _delete_stream(aws, stream)


def _delete_stream(aws: Aws, name: str) -> None:
    none_if_missing(lambda: aws.client("logs").delete_log_stream(logGroupName=TRAINING_LOG_GROUP, logStreamName=name))


def _job_streams(aws: Aws, name: str) -> list[str]:
    pages = aws.client("logs").get_paginator("describe_log_streams")
    wanted = {"logGroupName": TRAINING_LOG_GROUP, "logStreamNamePrefix": f"{name}/"}
    found = none_if_missing(lambda: [stream for page in pages.paginate(**wanted) for stream in page["logStreams"]])
    return [stream["logStreamName"] for stream in found or []]


# --- Lambda -----------------------------------------------------------------------------------------------------------


def _look_function(aws: Aws, name: str) -> Found | None:
    found = none_if_missing(lambda: aws.client("lambda").get_function(FunctionName=name))
    return None if found is None else Found("function", name, dict(found.get("Tags") or {}))


def _search_functions(aws: Aws) -> Iterator[Found]:
    pages = aws.client("lambda").get_paginator("list_functions").paginate()
    names = [item["FunctionName"] for page in pages for item in page["Functions"]]
    return tagged(_look_function(aws, name) for name in names if name.startswith(RESOURCE_PREFIX))


def _remove_function(aws: Aws, name: str) -> None:
    client = aws.client("lambda")
    until_gone(
        f"function {name}",
        lambda: client.delete_function(FunctionName=name),
        lambda: none_if_missing(lambda: client.get_function(FunctionName=name)) is not None,
    )


def _look_alias(aws: Aws, name: str) -> Found | None:
    function, _, alias = name.partition(":")
    found = none_if_missing(lambda: aws.client("lambda").get_alias(FunctionName=function, Name=alias))
    return None if found is None else Found("function-alias", name)


def _remove_alias(aws: Aws, name: str) -> None:
    """Give up the alias's provisioned concurrency, then delete it."""
    remove_provisioned_of(aws, name)
    function, _, alias = name.partition(":")
    none_if_missing(lambda: aws.client("lambda").delete_alias(FunctionName=function, Name=alias))


# --- Logs -------------------------------------------------------------------------------------------------------------


def _look_log_group(aws: Aws, name: str) -> Found | None:
    logs = aws.client("logs")
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
    arns = [group["arn"] for page in pages for group in page["logGroups"] if group["logGroupName"] == name]
    if not arns:
        return None
    tags = none_if_missing(lambda: logs.list_tags_for_resource(resourceArn=arns[0].removesuffix(":*"))["tags"])
    return Found("log-group", name, dict(tags or {}))


def _search_log_groups(aws: Aws) -> Iterator[Found]:
    paginator = aws.client("logs").get_paginator("describe_log_groups")
    pages = [page for prefix in _LOG_PREFIXES for page in paginator.paginate(logGroupNamePrefix=prefix)]
    names = [group["logGroupName"] for page in pages for group in page["logGroups"]]
    return tagged(_look_log_group(aws, name) for name in names)


def _remove_log_group(aws: Aws, name: str) -> None:
    none_if_missing(lambda: aws.client("logs").delete_log_group(logGroupName=name))


# --- S3 ---------------------------------------------------------------------------------------------------------------


def _look_prefix(aws: Aws, name: str) -> Found | None:
    bucket, _, prefix = name.partition("/")
    if not prefix:
        return None
    owner = {"Bucket": bucket, "ExpectedBucketOwner": aws.account_id}
    page = none_if_missing(lambda: aws.client("s3").list_objects_v2(**owner, Prefix=f"{prefix}/", MaxKeys=1))
    return Found("s3-prefix", name) if page and page.get("KeyCount") else None


def _search_prefixes(aws: Aws) -> Iterator[Found]:
    """Find datasets, weights and runs in the project's bucket by listing folders, not objects."""
    parents = [prefix for prefix in OWNED_PREFIXES if prefix != "weights/"] + _folders(aws, "weights/")
    for parent in parents:
        yield from (Found("s3-prefix", f"{aws.bucket}/{folder.rstrip('/')}") for folder in _folders(aws, parent))


def _folders(aws: Aws, prefix: str) -> list[str]:
    paginator = aws.client("s3").get_paginator("list_objects_v2")
    wanted = {"Bucket": aws.bucket, "ExpectedBucketOwner": aws.account_id, "Prefix": prefix, "Delimiter": "/"}
    pages = none_if_missing(lambda: list(paginator.paginate(**wanted)))
    return [item["Prefix"] for page in pages or [] for item in page.get("CommonPrefixes", [])]


def _remove_prefix(aws: Aws, name: str) -> None:
    bucket, _, prefix = name.partition("/")
    objects.delete_prefix(aws, bucket, f"{prefix}/")


def _look_bucket(aws: Aws, name: str) -> Found | None:
    """Buckets are listed for every region; one of another region is another teardown's."""
    owner = {"Bucket": name, "ExpectedBucketOwner": aws.account_id}
    answer = none_if_missing(lambda: aws.client("s3").head_bucket(**owner))
    if answer is None or answer.get("BucketRegion", aws.region) != aws.region:
        return None
    return Found("bucket", name, bucket_tags(aws, name))


def _search_buckets(aws: Aws) -> Iterator[Found]:
    names = {item["Name"] for item in aws.client("s3").list_buckets()["Buckets"]}
    return tagged(
        _look_bucket(aws, name) for name in sorted(names) if name.startswith(RESOURCE_PREFIX) or name == aws.bucket
    )


def _remove_bucket(aws: Aws, name: str) -> None:
    """Delete a bucket that is empty; one that is not is left, and that is told by what is there at the end."""
    owner = {"Bucket": name, "ExpectedBucketOwner": aws.account_id}
    if none_if_missing(lambda: aws.client("s3").list_objects_v2(**owner, MaxKeys=1).get("KeyCount")):
        return
    none_if_missing(lambda: aws.client("s3").delete_bucket(**owner))


# --- IAM --------------------------------------------------------------------------------------------------------------


def _look_role(aws: Aws, name: str) -> Found | None:
    """Roles are listed for every region; one that a run made in another region is another teardown's."""
    found = none_if_missing(lambda: aws.client("iam").get_role(RoleName=name)["Role"])
    if found is None:
        return None
    tags = tags_to_dict(aws.client("iam").list_role_tags(RoleName=name)["Tags"])
    return Found("role", name, tags) if tags.get(naming.REGION_TAG, aws.region) == aws.region else None


def _search_roles(aws: Aws) -> Iterator[Found]:
    pages = aws.client("iam").get_paginator("list_roles").paginate()
    names = [item["RoleName"] for page in pages for item in page["Roles"]]
    return tagged(_look_role(aws, name) for name in names if name.startswith(RESOURCE_PREFIX))


def _remove_role(aws: Aws, name: str) -> None:
    iam = aws.client("iam")
    inline = none_if_missing(lambda: iam.list_role_policies(RoleName=name)["PolicyNames"]) or []
    for policy in inline:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    attached = none_if_missing(lambda: iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]) or []
    for policy in attached:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    until_gone(
        f"role {name}",
        lambda: iam.delete_role(RoleName=name),
        lambda: none_if_missing(lambda: iam.get_role(RoleName=name)) is not None,
    )


def _none(_: Aws) -> Iterable[Found]:
    return ()


KINDS: Mapping[str, Kind] = {
    "training-job": Kind(_look_job, _search_jobs, _stop_job),
    "endpoint": Kind(_ENDPOINT.look, _ENDPOINT.search, _remove_endpoint),
    "endpoint-config": Kind(_CONFIG.look, _CONFIG.search, _CONFIG.remove),
    "model": Kind(_MODEL.look, _MODEL.search, _MODEL.remove),
    "function-alias": Kind(_look_alias, _none, _remove_alias),
    "function": Kind(_look_function, _search_functions, _remove_function),
    "log-group": Kind(_look_log_group, _search_log_groups, _remove_log_group),
    "s3-prefix": Kind(_look_prefix, _search_prefixes, _remove_prefix),
    "bucket": Kind(_look_bucket, _search_buckets, _remove_bucket),
    "role": Kind(_look_role, _search_roles, _remove_role),
    **INSTANCE_KINDS,
    **NOTEBOOK_KINDS,
    **SCALING_KINDS,
}
