"""The account's quotas that a run needs, and which of them are too small; one that cannot be read is not in the way.

Service Quotas counts SageMaker's instances by type and use, EC2's by vCPUs of a family of types and market.
Source: https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace

from tasks.account.prices import choose_hosting_instance, choose_training_instance
from tasks.doctor.findings import Finding, fail, ok, warn
from tasks.ec2.prices import choose_instances
from tasks.run.aws import Aws
from tasks.run.command_line import aws_command
from tasks.run.errors import AwsFailed, LimitReached, aws_boundary
from tasks.run.options import DeployOptions, Ec2TrainingOptions, TrainingOptions
from tasks.run.waiting import say

WHERE = CHECK = "quotas"
SERVICES = ("sagemaker", "ec2", "lambda")
KEPT_UNRESERVED = 100
_STANDARD = "Standard (A, C, D, H, I, M, R, T, Z)"
_SPOT_NAMES = {
    _STANDARD: f"All {_STANDARD} Spot Instance Requests",
    "G and VT": "All G and VT Spot Instance Requests",
    "P": "All P4, P3 and P2 Spot Instance Requests",
}
_FAMILIES = {"g": "G and VT", "v": "G and VT", "p": "P"}


@dataclass(frozen=True)
class Needed:
    """What a run needs of one quota: the service's code, the quota's name, and how much of what.

    A run goes on without what is not required, in another way.
    """

    service: str
    name: str
    amount: int
    what: str
    is_required: bool = True


@dataclass(frozen=True)
class Quota:
    """A quota of the account, and what a run needs of it; `code` is the quota's own."""

    needed: Needed
    code: str
    value: float

    @property
    def text(self) -> str:
        """The quota, its value and what is needed, on one line."""
        each = self.needed
        return f"'{each.name}' is {self.value:g}, and {each.what} needs {each.amount}"

    @property
    def request(self) -> str:
        """The command of the aws CLI, after `aws`, that asks for as much as is needed."""
        quota = {"service_code": self.needed.service, "quota_code": self.code}
        ask = "service-quotas request-service-quota-increase"
        return aws_command(ask, **quota, desired_value=str(self.needed.amount))


def needed_for(
    region: str,
    training: TrainingOptions | None = None,
    deploy: DeployOptions | None = None,
    ec2: Ec2TrainingOptions | None = None,
) -> list[Needed]:
    """Return what a run with these options needs; None leaves that part out."""
    needed = []
    if training is not None:
        chosen = choose_training_instance(region, finetune=training.finetune, requested=training.instance_type)
        use = "spot training job" if training.spot else "training job"
        trials = training.parallel_trials if training.search == "sagemaker" else 0
        needed.append(_instances(chosen.instance_type, use, max(training.instances, trials)))
    if deploy is not None:
        hosting = choose_hosting_instance(region, deploy.instance_type)
        needed.append(_instances(hosting.instance_type, "endpoint", deploy.instances))
    if ec2 is not None:
        needed += _vcpus(ec2)
    return needed


def function_quota() -> Needed:
    """Return the executions with which some can be reserved for the function: Lambda keeps up to 100 for others."""
    what = "reserving executions for the function"
    return Needed("lambda", "Concurrent executions", KEPT_UNRESERVED + 1, what, is_required=False)


def quota_findings(aws: Aws, service: str, needed: Iterable[Needed]) -> Iterator[Finding]:
    """Yield a row for each quota of a service that a run needs; what runs already is not counted against them.

    Raises:
        AccessDenied: the caller may not list quotas.
        AwsFailed: Service Quotas refused, or did not answer.
    """
    for each, found in _compared(aws, service, needed):
        if found is None:
            seen = f"Service Quotas does not list '{each.name}', so its default holds; {each.what} needs {each.amount}"
            cure = aws.cli("service-quotas list-aws-default-service-quotas", service_code=service)
            yield warn(CHECK, seen, cure)
        elif found.value >= each.amount:
            yield ok(CHECK, f"'{each.name}' is {found.value:g}; {each.what} needs {each.amount}")
        else:
            yield (fail if each.is_required else warn)(CHECK, found.text, aws.cli(found.request))


def shortfalls(aws: Aws, needed: Iterable[Needed]) -> list[Quota]:
    """Return the quotas that are too small; what runs already is not counted against them.

    Raises:
        AccessDenied: the caller may not list quotas.
        AwsFailed: Service Quotas refused, or did not answer.
    """
    wanted = list(needed)
    services = dict.fromkeys(each.service for each in wanted)
    compared = (pair for service in services for pair in _compared(aws, service, wanted))
    return [found for each, found in compared if found is not None and found.value < each.amount]


def _compared(aws: Aws, service: str, needed: Iterable[Needed]) -> Iterator[tuple[Needed, Quota | None]]:
    """Yield what a run needs of a service with the account's quota, None for one that is not listed."""
    wanted = [each for each in needed if each.service == service]
    listed = _listed(aws, service, {each.name for each in wanted}) if wanted else {}
    for each in wanted:
        yield each, Quota(each, *listed[each.name]) if each.name in listed else None


def require_quotas(aws: Aws, needed: Iterable[Needed]) -> None:
    """Return if the account may have what a run needs, before anything is made and paid for.

    Where Service Quotas refuses, throttles or does not answer, that is said and the run goes on.

    Raises:
        LimitReached: it may not; the error names each quota, its value, what is needed, and the command that asks.
    """
    try:
        short = shortfalls(aws, needed)
    except AwsFailed as error:
        say(f"quotas: not looked at: {error.what}: {error.why}")
        return
    if short:
        what = f"the account has too little of {len(short)} quota{'s' if len(short) > 1 else ''}"
        why = "\n".join(each.text for each in short)
        raise LimitReached(WHERE, what, why, "; ".join(aws.cli(each.request) for each in short))


def _listed(aws: Aws, service: str, names: Set[str]) -> dict[str, tuple[str, float]]:
    """Return the code and the value of a service's quotas of these names; SageMaker has thousands of others."""
    found: dict[str, tuple[str, float]] = {}
    with aws_boundary(WHERE):
        for page in aws.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode=service):
            rows = [row for row in page["Quotas"] if row["QuotaName"] in names]
            found |= {row["QuotaName"]: (row["QuotaCode"], row["Value"]) for row in rows}
            if found.keys() == names:
                break
    return found


def _instances(instance_type: str, use: str, count: int) -> Needed:
    return Needed("sagemaker", f"{instance_type} for {use} usage", count, f"the {use} ({count} × {instance_type})")


def _vcpus(ec2: Ec2TrainingOptions) -> list[Needed]:
    """Return the vCPUs of the first type that is tried; nothing for a type whose vCPUs are not known."""
    first = choose_instances(finetune=ec2.finetune, requested=ec2.instance_type).types[0]
    if first.vcpus is None:
        return []
    family = _FAMILIES.get(first.name[0], _STANDARD)
    name = f"Running On-Demand {family} instances"  # where there is no spot capacity, it is on demand
    amount = ec2.instances * first.vcpus
    return [Needed("ec2", name, amount, f"EC2 training ({ec2.instances} × {first.name})")]


def spot_quotas(ec2: Ec2TrainingOptions) -> list[Needed]:
    """Return the vCPUs on the spot market that EC2 instances need; without them they are on demand."""
    if not ec2.spot:
        return []
    return [
        replace(each, name=_SPOT_NAMES[family], what=f"{each.what} on the spot market", is_required=False)
        for each in _vcpus(ec2)
        for family in _SPOT_NAMES
        if f"On-Demand {family} " in each.name
    ]
