"""Read what uses roles in each region: functions, SageMaker, EC2; several regions at once, each with its own deadline.

A region that refuses or does not answer becomes a note, and its services count as not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial, reduce

from tasks.account.policy_documents import read_policy
from tasks.audit.account import FunctionPolicy, Profile, Use
from tasks.audit.looking import Look
from tasks.run.progress import show_progress

REGION_SECONDS = 180.0
AT_ONCE = 8
_USERS_OF_ROLES = (
    ("list_notebook_instances", "NotebookInstances", "NotebookInstanceName", "RoleArn"),
    ("list_models", "Models", "ModelName", "ExecutionRoleArn"),
    ("list_training_jobs", "TrainingJobSummaries", "TrainingJobName", "RoleArn"),
    ("list_processing_jobs", "ProcessingJobSummaries", "ProcessingJobName", "RoleArn"),
    ("list_domains", "Domains", "DomainId", "DefaultUserSettings.ExecutionRole"),
    ("list_pipelines", "PipelineSummaries", "PipelineName", "RoleArn"),
)
"""What SageMaker lists, the member with the things, the name of one, and where its description has the role."""


@dataclass(frozen=True)
class InRegion:
    """What was seen in a region; `notes` and `unseen` as in `Look`."""

    uses: tuple[Use, ...]
    functions: tuple[FunctionPolicy, ...]
    notes: tuple[str, ...]
    unseen: frozenset[str]


def enabled_regions(look: Look) -> tuple[str, ...]:
    """Return the regions that are enabled in the account; none, and a note, if that is denied.

    Raises:
        AwsFailed: AWS does not answer any more.
    """

    def names() -> list[str]:
        return [each["RegionName"] for each in look.one("ec2", "describe_regions")["Regions"]]

    return look.read("which regions are enabled", names)


def look_at_regions(
    look: Look, regions: Sequence[str], since: datetime, own_profiles: tuple[Profile, ...]
) -> list[InRegion]:
    """Look at several regions at once; jobs of SageMaker count from `since` on.

    Raises:
        AwsFailed: AWS does not answer any more.
    """

    def seen(region: str) -> InRegion:
        found = _in_region(look.in_region(region, REGION_SECONDS), since, own_profiles)
        counter.advance(1)
        return found

    with show_progress("look at regions", len(regions), "regions") as counter, ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(seen, regions))


def _in_region(look: Look, since: datetime, own_profiles: tuple[Profile, ...]) -> InRegion:
    parts = list(_users(look, since, own_profiles))
    uses = [use for part in parts for use in part]
    names = [use.what for use in uses if use.service == "lambda"]
    functions = look.read("the functions' policies", lambda: _function_policies(look, names))
    if not uses and len(look.notes) == len(parts):
        look.notes = [f"not looked at: region {look.aws.region} ({look.notes[0].partition(' (')[2]}"]
    return InRegion(tuple(uses), functions, tuple(look.notes), frozenset(look.unseen))


def _users(look: Look, since: datetime, own_profiles: tuple[Profile, ...]) -> Iterator[Iterable[Use]]:
    """Yield what uses roles and instance profiles, by kind."""
    yield look.read("functions", lambda: _functions(look), "lambda")
    for listing in _USERS_OF_ROLES:
        what = f"SageMaker's {listing[0].removeprefix('list_').replace('_', ' ')}"
        yield look.read(what, partial(_sagemaker, look, since, *listing), "sagemaker")
    yield look.read("instances", lambda: _instances(look), "ec2")
    yield look.read("launch templates", lambda: _launch_templates(look, own_profiles), "ec2")


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
                whole = f"{arn}:{alias}" if alias else arn
                yield FunctionPolicy(name, whole, alias, read_policy(answer["Policy"]), look.aws.region)


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
