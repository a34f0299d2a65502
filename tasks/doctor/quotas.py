"""The account's quotas that a run needs, and which of them are too small; one that cannot be read is not in the way.

Service Quotas counts SageMaker's instances by type and use, EC2's by vCPUs of a family of types and market.
Source: https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.account.prices import choose_hosting_instance, choose_training_instance
from tasks.ec2.prices import choose_instances
from tasks.run.aws import Aws
from tasks.run.errors import AwsFailed, LimitReached, aws_boundary
from tasks.run.options import DeployOptions, Ec2TrainingOptions, TrainingOptions
from tasks.run.waiting import say

WHERE = "quotas"
_STANDARD = "Standard (A, C, D, H, I, M, R, T, Z)"
_FAMILIES = {"g": "G and VT", "v": "G and VT", "p": "P"}


@dataclass(frozen=True)
class Needed:
    """What a run needs of one quota: the service's code, the quota's name, and how much of what."""

    service: str
    name: str
    amount: int
    what: str


@dataclass(frozen=True)
class Shortfall:
    """A quota that is smaller than what a run needs; `code` is the quota's own."""

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
        each = self.needed
        return (
            f"service-quotas request-service-quota-increase --service-code {each.service} --quota-code {self.code} "
            f"--desired-value {each.amount}"
        )


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
        needed.append(_instances(chosen.instance_type, use, training.instances))
    if deploy is not None:
        hosting = choose_hosting_instance(region, deploy.instance_type)
        needed.append(_instances(hosting.instance_type, "endpoint", deploy.instances))
    if ec2 is not None:
        needed += _vcpus(ec2)
    return needed


def shortfalls(aws: Aws, needed: Iterable[Needed]) -> list[Shortfall]:
    """Return the quotas that are too small; what runs already is not counted against them.

    Raises:
        AccessDenied: the caller may not list quotas.
        AwsFailed: Service Quotas refused, or did not answer.
    """
    by_service: dict[str, list[Needed]] = {}
    for each in needed:
        by_service.setdefault(each.service, []).append(each)
    found = []
    for service, wanted in by_service.items():
        listed = _listed(aws, service)
        for each in wanted:
            code, value = listed.get(each.name, ("", float(each.amount)))
            if value < each.amount:
                found.append(Shortfall(each, code, value))
    return found


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


def _listed(aws: Aws, service: str) -> dict[str, tuple[str, float]]:
    """Return the code and the value of each of a service's quotas, by its name."""
    with aws_boundary(WHERE):
        pages = aws.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode=service)
        rows = [row for page in pages for row in page["Quotas"]]
    return {row["QuotaName"]: (row["QuotaCode"], row["Value"]) for row in rows}


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
