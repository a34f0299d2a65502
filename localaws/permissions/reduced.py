"""ARNs in requests, reduced to what this server has under the names that policies use, or refused.

One address stands for all regions and accounts, and moto looks at the last part of most ARNs only: an ARN of another
region, account or partition would be decided under a name that the resource here does not have.
"""

from __future__ import annotations

import functools

from localaws.errors import AwsError
from localaws.permissions import catalog
from localaws.permissions.asking import Place
from localaws.policies.patterns import ARN_PARTS

_OWNERLESS = {("iam", "aws"), ("ssm", ""), ("ec2", ""), ("s3", "")}  # services, and what stands for an account there
_GLOBAL = ("budgets", "iam", "s3", "sts")  # whose ARNs have no region


class Elsewhere(LookupError):
    """An ARN of something that is not where the request is carried out; the message names it and says why."""

    def __init__(self, arn: str, why: str) -> None:
        super().__init__(f"localaws does not decide on {arn}, which {why}")


def check_here(action: str, arn: str, place: Place) -> None:
    """Refuse what is not of the action's service and in the request's partition and region; `*` passes.

    Another account's passes too: only a policy of the resource could allow it, and there is none here.

    Raises:
        Elsewhere: it is somewhere else.
        AwsError: Lambda's answer for a function of another region.
    """
    if arn == "*" or (action == "iam:PassRole" and not arn.startswith("arn:")):  # no role: the model says so
        return
    parts = arn.split(":", ARN_PARTS - 1)
    if len(parts) < ARN_PARTS or parts[0] != "arn":
        raise Elsewhere(arn, "is no ARN")
    _, partition, service, region, account, _ = parts
    if partition != place.partition or service not in _services(action.partition(":")[0]):
        raise Elsewhere(arn, f"is no resource of {action.partition(':')[0]}'s in the partition {place.partition}")
    if not account.isdigit() and (service, account) not in _OWNERLESS:
        raise Elsewhere(arn, "has no account")
    if region == ("" if service in _GLOBAL else place.region):
        return
    if service == "lambda" and region:  # https://github.com/alexcasalboni/aws-lambda-power-tuning/issues/18
        text = f"Functions from '{region}' are not reachable in this region ('{place.region}')"
        raise AwsError("ResourceNotFoundException", text, status=404)
    raise Elsewhere(arn, f"is not of region {place.region}")


@functools.cache
def _services(prefix: str) -> frozenset[str]:
    """Return the services in the ARNs of what an action of a prefix may be about."""
    return frozenset(catalog.template(prefix, kind).split(":")[2] for kind in catalog.kinds(prefix))


def as_policies_name_it(arn: str, prefix: str) -> str:
    """Return the ARN by which a resource is decided on: SageMaker's in lower case, SSM's without a version."""
    parts = arn.split(":", ARN_PARTS - 1)
    if len(parts) < ARN_PARTS:
        return arn
    *start, path = parts
    if prefix == "sagemaker":
        path = path.lower()
    elif prefix == "ssm" and path.startswith("parameter/"):
        path = f"parameter/{path.removeprefix('parameter/').partition(':')[0].strip('/')}"
    elif prefix == "lambda" and path.startswith("function:"):
        path = ":".join(path.split(":")[:2])
    return ":".join([*start, path])
