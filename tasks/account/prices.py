"""Choose the instance type of jobs, endpoints and notebooks, and estimate their cost.

The prices are a small table of list prices of one region, so costs are estimates; reports say so. In every other
region a price is unknown. Nothing here calls AWS. Savings plans, storage and data transfer are not covered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PRICES_REGION = "us-east-1"
PRICES_SOURCE = f"aws.amazon.com/sagemaker/pricing, on-demand, {PRICES_REGION}, list prices of 2025; an estimate"

USD_PER_HOUR = {
    "ml.t3.medium": 0.05,
    "ml.t3.large": 0.10,
    "ml.t3.xlarge": 0.20,
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
    "ml.g4dn.xlarge": 0.736,
    "ml.g5.xlarge": 1.408,
}
"""The price of an instance hour in us-east-1, for training, hosting and notebooks; t3 types are for notebooks only."""

NOTEBOOK_MEMORY_GIB = {"ml.t3.medium": 4, "ml.t3.large": 8, "ml.t3.xlarge": 16, "ml.m5.xlarge": 16}
"""The memory of the instance types that a notebook may have (current generation, without a GPU)."""


_EBS_ONLY = re.compile(r"ml\.([cmrt]\d+(?![a-z]*d)[a-z]*(-flex)?|inf\d|p[23])\.\w+")


@dataclass(frozen=True)
class InstanceChoice:
    """An instance type and the reason for it; `usd_per_hour` is None where the table has no price of it."""

    instance_type: str
    reason: str
    usd_per_hour: float | None
    has_gpu: bool


def has_local_storage(instance_type: str) -> bool:
    """Tell whether SageMaker's instances of a type have disks of their own, which take no key; unknown types count so.

    Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-store-volumes.html
    """
    return _EBS_ONLY.fullmatch(instance_type) is None


def usd_per_hour(instance_type: str, region: str) -> float | None:
    """Return the list price of an instance hour, or None when it is unknown: another type, or another region."""
    return USD_PER_HOUR.get(instance_type) if region == PRICES_REGION else None


def choose_training_instance(region: str, *, finetune: bool, requested: str | None = None) -> InstanceChoice:
    """Choose the instance type of a training job.

    With a frozen backbone every image passes through the network once and the head trains on the stored embeddings, so
    a GPU would idle most of the time (an ml.g4dn.xlarge costs 3.2 times an ml.m5.xlarge). Fine-tuning runs the backbone
    forwards and backwards in every epoch, where a GPU is cheaper.
    """
    if requested is not None:
        return _choice(region, requested, "named by the user (--instance-type)")
    if finetune:
        why = "fine-tuning runs the backbone both ways every epoch: the cheapest type with a GPU"
        return _choice(region, "ml.g4dn.xlarge", why)
    ratio = USD_PER_HOUR["ml.g4dn.xlarge"] / USD_PER_HOUR["ml.m5.xlarge"]
    why = (
        "frozen backbone: one forward pass per image, then a small head on kept embeddings; "
        f"a GPU type costs {ratio:.1f} times as much (in {PRICES_REGION}) and would idle during the head's epochs"
    )
    return _choice(region, "ml.m5.xlarge", why)


def choose_hosting_instance(region: str, requested: str | None = None) -> InstanceChoice:
    """Choose the instance type of the endpoint; burstable types are excluded, because they cannot autoscale."""
    if requested is not None:
        return _choice(region, requested, "named by the user (--endpoint-instance-type)")
    why = (
        "one image at a time on a compiled CPU graph; the smallest type that is not burstable (those cannot autoscale)"
    )
    return _choice(region, "ml.m5.large", why)


def choose_notebook_instance(region: str, requested: str | None = None, *, memory_gib: int = 4) -> InstanceChoice:
    """Choose the cheapest instance type of a notebook that has enough memory.

    A notebook shows data and calls endpoints; heavy work runs in jobs. So 4 GiB are enough, and a burstable type fits,
    because a notebook mostly waits for its user.

    Raises:
        ValueError: no type in the table has that much memory.
    """
    if requested is not None:
        return _choice(region, requested, "named by the user (--instance-type)")
    sufficient = [name for name, memory in NOTEBOOK_MEMORY_GIB.items() if memory >= memory_gib]
    if not sufficient:
        most = max(NOTEBOOK_MEMORY_GIB.values())
        raise ValueError(f"memory_gib={memory_gib} is too much: the largest notebook type has {most} GiB")
    cheapest = min(sufficient, key=lambda name: USD_PER_HOUR[name])
    why = (
        f"the cheapest of {len(sufficient)} notebook types with at least {memory_gib} GiB of memory "
        f"({USD_PER_HOUR[cheapest]:.2f} USD an hour in {PRICES_REGION}); training and serving run elsewhere"
    )
    return _choice(region, cheapest, why)


def cost_usd(usd_per_hour: float | None, instance_count: int, billable_seconds: float) -> float | None:
    """Return the cost of `billable_seconds` on each of `instance_count` instances, or None if the price is unknown."""
    return None if usd_per_hour is None else usd_per_hour * instance_count * billable_seconds / 3600.0


def _choice(region: str, instance_type: str, reason: str) -> InstanceChoice:
    family = instance_type.split(".")[1] if instance_type.count(".") == 2 else ""
    return InstanceChoice(instance_type, reason, usd_per_hour(instance_type, region), family[:1] in {"g", "p"})
