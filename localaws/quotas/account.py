"""The quotas of an account that has just been opened, and of one that has been used for long.

A new account has AWS's defaults (`defaults.json` has the source), and 10 concurrent executions of Lambda:
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html says that it has fewer than the default. The
values of an old account are localaws's own: an account gets what it asks for.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from localaws.errors import AwsError

OLD = {"sagemaker": 20, "ec2": 640}
NEW = {"lambda": 10}
_FAMILIES = (  # first letters of an instance type; the quotas on demand and on the spot market
    (re.compile(r"[acdhimrtz]\d"), "L-1216C47A", "L-34B43A08"),
    (re.compile(r"(g|vt)\d"), "L-DB2E81BA", "L-3819A6DF"),
    (re.compile(r"p\d"), "L-417A185B", "L-7212CCBC"),
)


@dataclass(frozen=True)
class Quota:
    """One quota: the service's code, its own code and name, and how many instances, vCPUs or executions it allows."""

    service: str
    code: str
    name: str
    value: int


class Quotas:
    """The quotas of an account, `old` or `new`."""

    def __init__(self, account: str) -> None:
        self._account = account

    def of(self, service: str) -> list[Quota]:
        """Return a service's quotas by its code; none for a service that is not known."""
        value = (NEW if self._account == "new" else OLD).get(service)
        return [each if value is None else replace(each, value=value) for each in self.defaults_of(service)]

    def defaults_of(self, service: str) -> list[Quota]:
        """Return what AWS documents as the default."""
        return [Quota(service, code, name, value) for name, code, value in _rows(service)]

    @property
    def executions(self) -> int:
        """Lambda's concurrent executions."""
        return self.of("lambda")[0].value

    def require_instances(self, instance_type: str, use: str, *, current: int, wanted: int) -> None:
        """Refuse more instances for a use, such as "endpoint", than there may be.

        Raises:
            AwsError: ResourceLimitExceeded, with SageMaker's sentence.
        """
        name = f"{instance_type} for {use} usage"
        limit = next((each.value for each in self.of("sagemaker") if each.name == name), OLD["sagemaker"])
        if wanted > 0 and current + wanted > limit:
            raise AwsError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{name}' is {limit} Instances, with current utilization of {current} "
                f"Instances and a request delta of {wanted} Instances. Please use AWS Service Quotas to request an "
                "increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an "
                "increase for this quota.",
            )

    def require_vcpus(self, instance_type: str, *, is_spot: bool, current: int, wanted: int) -> None:
        """Refuse more vCPUs than instances of a type's family may have together.

        Raises:
            AwsError: VcpuLimitExceeded or MaxSpotInstanceCountExceeded, with EC2's sentence.
        """
        code = vcpu_quota(instance_type, is_spot=is_spot)
        limit = next((each.value for each in self.of("ec2") if each.code == code), None)
        if limit is None or current + wanted <= limit:
            return
        if is_spot:
            raise AwsError("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
        raise AwsError(
            "VcpuLimitExceeded",
            f"You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the instance "
            "bucket that the specified instance type belongs to. Please visit "
            "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
        )


def vcpu_quota(instance_type: str, *, is_spot: bool) -> str | None:
    """Return the code of the quota that counts an instance type's vCPUs; None for a family that is not known."""
    return next((codes[is_spot] for family, *codes in _FAMILIES if family.match(instance_type)), None)


@functools.cache
def _rows(service: str) -> list[tuple[str, str, int]]:
    text = Path(__file__).with_name("defaults.json").read_text()
    return [(name, code, value) for name, code, value in json.loads(text)["services"].get(service, ())]
