"""Looks for each planned resource, and says whether the run will create, adopt or replace it. Nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from tasks.account.lookup import none_if_missing
from tasks.plan.resources import Planned
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import aws_boundary
from tasks.sagemaker.job import describe_job
from tasks.sagemaker.tuner import describe_tuning
from tasks.teardown.all_kinds import KINDS
from tasks.teardown.plan import Resource, prefix_name

Action = Literal["create", "adopt", "replace", "refuse"]
LOOKUPS = 8
_TAGGED = frozenset(
    ("role", "key-pair", "security-group", "instance-profile", "log-group", "model", "endpoint-config", "endpoint")
) | {"function", "budget"}
_SHARED = "adopted, if the same is there already"


@dataclass(frozen=True)
class Step:
    """A planned resource and what the run does about it."""

    resource: Planned
    action: Action
    note: str = ""


def all_created(planned: Sequence[Planned]) -> list[Step]:
    """Return the steps where nothing exists, such as on an embedded AWS that does not run."""
    return [Step(each, "create", each.note) for each in planned]


def find_actions(aws: Aws, run_id: str, planned: Sequence[Planned]) -> list[Step]:
    """Return the step of each resource after looking for it; several are looked for at the same time.

    A resource of that name without the run's tags is one that the run will refuse.

    Raises:
        AwsFailed: a lookup failed.
    """
    aws.account_id  # noqa: B018  asked once, before the threads
    with ThreadPoolExecutor(LOOKUPS) as pool:
        found = list(pool.map(lambda each: _find(aws, each), planned))
    has_bucket = any(resource is not None and resource.kind == "bucket" for resource in found)
    steps = [_step(run_id, *pair, has_bucket=has_bucket) for pair in zip(planned, found, strict=True)]
    return [_replaced(aws, step, steps) if step.resource.kind == "endpoint" else step for step in steps]


def _find(aws: Aws, planned: Planned) -> Resource | None:
    if not planned.is_named:
        return None
    name = prefix_name(planned.name) if planned.kind == "s3-prefix" else planned.name
    with aws_boundary(f"plan: {planned.kind} {planned.name}"):
        if planned.kind == "tuning-job":
            return None if describe_tuning(aws, name) is None else Resource(planned.kind, name)
        if planned.kind == "training-job":  # the teardown looks for those only that still run or have a log
            return None if describe_job(aws, name) is None else Resource(planned.kind, name)
        return KINDS[planned.kind].find(aws, name)


def _step(run_id: str, planned: Planned, found: Resource | None, *, has_bucket: bool) -> Step:
    if found is None:
        is_shared = planned.kind == "s3-prefix" and not planned.is_named and has_bucket
        return Step(planned, "create", _SHARED if is_shared else planned.note)
    if planned.kind in _TAGGED and not naming.has_tags_of(run_id, found.tags):
        return Step(planned, "refuse", "it exists and does not carry the run's tags")
    return Step(planned, "adopt", planned.note)


def _replaced(aws: Aws, step: Step, steps: Sequence[Step]) -> Step:
    """Return the endpoint's step: one that serves another configuration than the planned is updated."""
    config = next(each.resource.name for each in steps if each.resource.kind == "endpoint-config")
    if step.action != "adopt":
        return step
    client, name = aws.client("sagemaker"), step.resource.name
    with aws_boundary(f"plan: endpoint {name}"):
        found = none_if_missing(lambda: client.describe_endpoint(EndpointName=name))
    is_same = found is not None and found["EndpointConfigName"] == config
    return step if is_same else Step(step.resource, "replace", "by its new configuration, without a break")
