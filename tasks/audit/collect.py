"""Fill the record of an account by calls that change nothing.

IAM and S3 are looked at whole; Lambda, SageMaker and EC2 in the region of the settings only, which a note says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial, reduce
from typing import Any

from tasks.account.policy_documents import read_policy
from tasks.audit.account import Account, Bucket, FunctionPolicy, Profile, Use
from tasks.audit.identities import credentials, identities, last_accessed, profiles
from tasks.audit.looking import Look
from tasks.run.aws import Aws
from tasks.run.errors import aws_boundary
from tasks.run.waiting import REAL_TIME, Waiting

DEADLINE_SECONDS = 900.0
_USERS_OF_ROLES = (
    ("list_notebook_instances", "NotebookInstances", "NotebookInstanceName", "RoleArn"),
    ("list_models", "Models", "ModelName", "ExecutionRoleArn"),
    ("list_training_jobs", "TrainingJobSummaries", "TrainingJobName", "RoleArn"),
    ("list_processing_jobs", "ProcessingJobSummaries", "ProcessingJobName", "RoleArn"),
    ("list_domains", "Domains", "DomainId", "DefaultUserSettings.ExecutionRole"),
    ("list_pipelines", "PipelineSummaries", "PipelineName", "RoleArn"),
)
"""What SageMaker lists, the member with the things, the name of one, and where its description has the role."""


def collect(
    aws: Aws, *, unused_days: int, deadline_seconds: float = DEADLINE_SECONDS, waiting: Waiting = REAL_TIME
) -> Account:
    """Look at the account and return what was seen.

    SageMaker's jobs of the last `unused_days` count as users of their roles. After the deadline nothing more is looked
    at, and what was not becomes a note, as does what is denied or not emulated.

    Raises:
        AwsFailed: IAM refused GetAccountAuthorizationDetails, or AWS does not answer any more.
        WaitTimedOut: the deadline passed before the identities were read.
    """
    look, now = Look(aws, deadline_seconds, waiting), datetime.now(UTC)
    since = now - timedelta(days=unused_days)
    with aws_boundary("audit: identities"):
        found, service_linked = identities(look)
    own_profiles = look.read("instance profiles", lambda: profiles(look), "ec2")
    uses = _uses(look, since, own_profiles)
    names = [use.what for use in uses if use.service == "lambda"]
    functions = look.read("the functions' policies", lambda: _function_policies(look, names))
    rows = look.read("the credential report", lambda: credentials(look))
    owners = [each for each in found if each.created < since and any(p.arn is None for p in each.policies)]
    accessed = look.read("last accesses", lambda: last_accessed(look, owners).items())
    buckets = look.read("buckets", lambda: _buckets(look))
    return Account(
        account_id=aws.account_id,
        partition=aws.partition,
        region=aws.region,
        seen_at=now,
        identities=found,
        service_linked=service_linked,
        profiles=own_profiles,
        uses=uses,
        unseen=frozenset(look.unseen),
        functions=functions,
        buckets=buckets,
        credentials=rows,
        last_accessed=dict(accessed),
        notes=(*look.notes, f"not looked at: functions, SageMaker and EC2 of other regions than {aws.region}"),
    )


def _uses(look: Look, since: datetime, own_profiles: tuple[Profile, ...]) -> tuple[Use, ...]:
    """Return what uses roles and instance profiles."""
    found = [*look.read("functions", lambda: _functions(look), "lambda")]
    for listing in _USERS_OF_ROLES:
        what = f"SageMaker's {listing[0].removeprefix('list_').replace('_', ' ')}"
        found += look.read(what, partial(_sagemaker, look, since, *listing), "sagemaker")
    found += look.read("instances", lambda: _instances(look), "ec2")
    return (*found, *look.read("launch templates", lambda: _launch_templates(look, own_profiles), "ec2"))


def _functions(look: Look) -> Iterator[Use]:
    """Yield each version of each function: a published version keeps the role that it had."""
    for each in look.all("lambda", "list_functions", "Functions", FunctionVersion="ALL"):
        yield Use("lambda", each["FunctionName"], each["Role"])


def _function_policies(look: Look, names: list[str]) -> Iterator[FunctionPolicy]:
    for name in dict.fromkeys(names):
        aliases = [each["Name"] for each in look.all("lambda", "list_aliases", "Aliases", FunctionName=name)]
        arn = look.aws.arn("lambda", f"function:{name}")
        for alias in (None, *aliases):
            which = {"FunctionName": name} | ({"Qualifier": alias} if alias else {})
            answer = look.one("lambda", "get_policy", **which)
            if answer is not None:
                yield FunctionPolicy(name, f"{arn}:{alias}" if alias else arn, alias, read_policy(answer["Policy"]))


def _sagemaker(look: Look, since: datetime, listing: str, member: str, name: str, role: str) -> Iterator[Use]:
    describe = listing.replace("list_", "describe_").removesuffix("s")
    recent = {"CreationTimeAfter": since} if listing.endswith("_jobs") else {}
    for each in look.all("sagemaker", listing, member, **recent):
        answer = look.one("sagemaker", describe, **{name: each[name]})
        arn = reduce(lambda found, key: (found or {}).get(key), role.split("."), answer)
        if arn:
            yield Use("sagemaker", f"{name} {each[name]}", str(arn))


def _instances(look: Look) -> Iterator[Use]:
    states = ["pending", "running", "shutting-down", "stopping", "stopped"]
    filters = [{"Name": "instance-state-name", "Values": states}]
    for reservation in look.all("ec2", "describe_instances", "Reservations", Filters=filters):
        for each in reservation["Instances"]:
            if "IamInstanceProfile" in each:
                yield Use("ec2", each["InstanceId"], each["IamInstanceProfile"]["Arn"])


def _launch_templates(look: Look, known: tuple[Profile, ...]) -> Iterator[Use]:
    """Yield the instance profiles of the default and latest versions, which name them or have their ARNs."""
    arns = {profile.name: profile.arn for profile in known}
    versions = ["$Latest", "$Default"]
    for each in look.all("ec2", "describe_launch_template_versions", "LaunchTemplateVersions", Versions=versions):
        named = each["LaunchTemplateData"].get("IamInstanceProfile", {})
        arn = named.get("Arn") or arns.get(named.get("Name", ""))
        if arn:
            yield Use("ec2", each["LaunchTemplateId"], arn)


def _buckets(look: Look) -> Iterator[Bucket]:
    """Yield the buckets; each is a part of its own, because its policy may deny the caller this one."""
    ask = partial(look.one, "s3control", "get_public_access_block", AccountId=look.aws.account_id)
    whole = dict(look.read("the account's public access block", lambda: _blocks(ask()).items()))
    for each in look.all("s3", "list_buckets", "Buckets"):
        look.in_time("get_bucket_policy")
        yield from look.read(f"bucket {each['Name']}", partial(_bucket, look, each["Name"], whole))


def _bucket(look: Look, name: str, whole: Mapping[str, bool]) -> Iterator[Bucket]:
    own = _blocks(look.one("s3", "get_public_access_block", Bucket=name))
    policy, acl = (look.one("s3", f"get_bucket_{what}", Bucket=name) for what in ("policy", "acl"))
    is_void = {key: own.get(key) or whole.get(key) for key in ("RestrictPublicBuckets", "IgnorePublicAcls")}
    grants: list[Any] = [] if acl is None or is_void["IgnorePublicAcls"] else acl["Grants"]
    document = {} if policy is None or is_void["RestrictPublicBuckets"] else read_policy(policy["Policy"])
    yield Bucket(name, document, tuple(each["Grantee"].get("URI", "") for each in grants))


def _blocks(answer: Mapping[str, Any] | None) -> Mapping[str, bool]:
    return {} if answer is None else answer["PublicAccessBlockConfiguration"]
