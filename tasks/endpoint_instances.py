"""How many instances an endpoint's variant has: set by hand, or waited for while scaling moves it."""

from __future__ import annotations

from tasks.run.aws import Aws
from tasks.run.errors import StageFailed, aws_boundary
from tasks.run.waiting import wait_for


def set_instances(aws: Aws, endpoint_name: str, variant: str, count: int, *, deadline_seconds: float = 1800.0) -> None:
    """Bring a variant to `count` instances and wait until they serve; suspend its scaling first, or it is undone.

    Raises:
        StageFailed: the endpoint ended in another state than InService.
        WaitTimedOut: it had another number of instances at the deadline.
        AwsFailed: AWS refused.
    """
    client = aws.client("sagemaker")
    wait_for_instances(aws, endpoint_name, variant, low=0, high=None, deadline_seconds=deadline_seconds)
    with aws_boundary(f"instances of {endpoint_name}"):
        change = {"VariantName": variant, "DesiredInstanceCount": count}
        live = client.describe_endpoint(EndpointName=endpoint_name)["ProductionVariants"]
        if next(each for each in live if each["VariantName"] == variant)["CurrentInstanceCount"] != count:
            client.update_endpoint_weights_and_capacities(
                EndpointName=endpoint_name, DesiredWeightsAndCapacities=[change]
            )
    wait_for_instances(aws, endpoint_name, variant, low=count, high=count, deadline_seconds=deadline_seconds)


def wait_for_instances(
    aws: Aws,
    endpoint_name: str,
    variant: str,
    *,
    low: int,
    high: int | None,
    deadline_seconds: float,
    poll_seconds: float = 0.2,
) -> int:
    """Wait until the endpoint is in service with `low` to `high` instances (None: any more); return how many.

    Raises:
        StageFailed: the endpoint ended in another state than InService.
        WaitTimedOut: it had not at the deadline.
        AwsFailed: AWS refused.
    """
    bounds = f"{low} to {high} instances" if high is not None else f"{low} instances or more"

    def probe() -> tuple[int | None, str]:
        endpoint = aws.client("sagemaker").describe_endpoint(EndpointName=endpoint_name)
        status = endpoint["EndpointStatus"]
        live = next(each for each in endpoint["ProductionVariants"] if each["VariantName"] == variant)
        count = int(live["CurrentInstanceCount"])
        if status in {"Failed", "OutOfService", "UpdateRollbackFailed"}:
            why = str(endpoint.get("FailureReason") or "AWS gave no reason")
            raise StageFailed(f"endpoint {endpoint_name}", f"it is {status}", why, "kennel logs --source endpoint")
        is_there = status == "InService" and count >= low and (high is None or count <= high)
        return (count if is_there else None), f"{status} with {count} instances, {bounds} wanted"

    with aws_boundary(f"instances of {endpoint_name}"):
        what = f"endpoint {endpoint_name}"
        return wait_for(what, probe, deadline_seconds=deadline_seconds, poll_seconds=poll_seconds)
