"""Finds and removes scalable targets and provisioned concurrency.

Neither is found by tags. A scalable target belongs to an endpoint and provisioned concurrency to a function; the
teardown reads the tags of those, and removes both kinds with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.account.lookup import none_if_missing
from tasks.run.aws import Aws
from tasks.serving.autoscaling import DIMENSION, NAMESPACE
from tasks.serving.concurrency import provisioned_or_none
from tasks.teardown.kinds import Kind, find_none
from tasks.teardown.plan import Resource


def deregister_targets(aws: Aws, endpoint_name: str) -> None:
    """Deregister the scalable targets of an endpoint's variants, which AWS does not delete with the endpoint.

    Raises:
        ClientError: Application Auto Scaling refused.
    """
    client = aws.client("application-autoscaling")
    pages = client.get_paginator("describe_scalable_targets").paginate(ServiceNamespace=NAMESPACE)
    targets = [target for page in pages for target in page["ScalableTargets"]]
    for target in targets:
        if target["ResourceId"].startswith(f"endpoint/{endpoint_name}/"):
            _deregister(aws, target["ResourceId"], target["ScalableDimension"])


def remove_provisioned_of(aws: Aws, name: str) -> None:
    """Delete the provisioned concurrency of `function:alias`, if there is any.

    Raises:
        ClientError: Lambda refused for another reason.
    """
    function, _, alias = name.partition(":")
    call = aws.client("lambda").delete_provisioned_concurrency_config
    provisioned_or_none(lambda: call(FunctionName=function, Qualifier=alias))


def _find_target(aws: Aws, name: str) -> Resource | None:
    client = aws.client("application-autoscaling")
    wanted = {"ServiceNamespace": NAMESPACE, "ResourceIds": [name], "ScalableDimension": DIMENSION}
    found = none_if_missing(lambda: client.describe_scalable_targets(**wanted)["ScalableTargets"])
    return Resource("scalable-target", name) if found else None


def _remove_target(aws: Aws, name: str) -> None:
    _deregister(aws, name, DIMENSION)


def _deregister(aws: Aws, name: str, dimension: str) -> None:
    client = aws.client("application-autoscaling")
    wanted = {"ServiceNamespace": NAMESPACE, "ResourceId": name, "ScalableDimension": dimension}
    none_if_missing(lambda: client.deregister_scalable_target(**wanted))


def _find_provisioned(aws: Aws, name: str) -> Resource | None:
    function, _, alias = name.partition(":")
    call: Any = aws.client("lambda").get_provisioned_concurrency_config
    found = provisioned_or_none(lambda: call(FunctionName=function, Qualifier=alias))
    return None if found is None else Resource("provisioned-concurrency", name)


SCALING_KINDS: Mapping[str, Kind] = {
    "scalable-target": Kind(_find_target, find_none, _remove_target),
    "provisioned-concurrency": Kind(_find_provisioned, find_none, remove_provisioned_of),
}
