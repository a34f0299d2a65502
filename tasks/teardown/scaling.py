"""Looks up and removes scalable targets and provisioned concurrency: kinds for the teardown.

Both belong to something with tags, an endpoint or a function, and carry none of their own that are relied on. Neither
is searched for: who removes the endpoint or the function removes them too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tasks.account.lookup import none_if_missing
from tasks.run.aws import Aws
from tasks.serving.autoscaling import DIMENSION, NAMESPACE
from tasks.serving.concurrency import provisioned_or_none
from tasks.teardown.kinds import Kind
from tasks.teardown.plan import Found


def deregister_targets(aws: Aws, endpoint_name: str) -> None:
    """Deregister whatever scales an endpoint's variants: a target keeps no endpoint, but outlives it."""
    client = aws.client("application-autoscaling")
    pages = client.get_paginator("describe_scalable_targets").paginate(ServiceNamespace=NAMESPACE)
    targets = [target for page in pages for target in page["ScalableTargets"]]
    for target in targets:
        if target["ResourceId"].startswith(f"endpoint/{endpoint_name}/"):
            _deregister(aws, target["ResourceId"], target["ScalableDimension"])


def remove_provisioned_of(aws: Aws, name: str) -> None:
    """Give up the provisioned concurrency of `function:alias`, if there is any."""
    function, _, alias = name.partition(":")
    call = aws.client("lambda").delete_provisioned_concurrency_config
    provisioned_or_none(lambda: call(FunctionName=function, Qualifier=alias))


def _look_target(aws: Aws, name: str) -> Found | None:
    client = aws.client("application-autoscaling")
    wanted = {"ServiceNamespace": NAMESPACE, "ResourceIds": [name], "ScalableDimension": DIMENSION}
    found = none_if_missing(lambda: client.describe_scalable_targets(**wanted)["ScalableTargets"])
    return Found("scalable-target", name) if found else None


def _remove_target(aws: Aws, name: str) -> None:
    _deregister(aws, name, DIMENSION)


def _deregister(aws: Aws, name: str, dimension: str) -> None:
    client = aws.client("application-autoscaling")
    wanted = {"ServiceNamespace": NAMESPACE, "ResourceId": name, "ScalableDimension": dimension}
    none_if_missing(lambda: client.deregister_scalable_target(**wanted))


def _look_provisioned(aws: Aws, name: str) -> Found | None:
    function, _, alias = name.partition(":")
    call: Any = aws.client("lambda").get_provisioned_concurrency_config
    found = provisioned_or_none(lambda: call(FunctionName=function, Qualifier=alias))
    return None if found is None else Found("provisioned-concurrency", name)


def _none(_: Aws) -> Iterable[Found]:
    return ()


SCALING_KINDS: Mapping[str, Kind] = {
    "scalable-target": Kind(_look_target, _none, _remove_target),
    "provisioned-concurrency": Kind(_look_provisioned, _none, remove_provisioned_of),
}
