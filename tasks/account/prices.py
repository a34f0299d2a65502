"""Choose the instance type of jobs, endpoints and notebooks, and estimate their cost.

The prices are those of the dated table (`tasks.account.price_table`) in one region, so costs are estimates; reports say
so. In every other region a price is unknown. Nothing here calls AWS. Savings plans, storage and data transfer are not
covered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.account.price_table import REGION, Item, Use, dated_price

PRICES_REGION = REGION
PRICES_SOURCE = f"AWS's on-demand list prices of {REGION}, dates from 2026-07-30 to 2026-09-28; an estimate"

TRAINING_TYPES = ("ml.m5.xlarge", "ml.g4dn.xlarge", "ml.g5.xlarge")
HOSTING_TYPES = ("ml.m5.large", "ml.m5.xlarge", "ml.m5.2xlarge")
"""The types that are considered, the usual one first; no burstable ones, because those cannot autoscale."""

NOTEBOOK_MEMORY_GIB = {"ml.t3.medium": 4, "ml.t3.large": 8, "ml.t3.xlarge": 16, "ml.m5.xlarge": 16}
"""The memory of the instance types that a notebook may have (current generation, without a GPU), smallest first."""


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


def usd_per_hour(instance_type: str, region: str, use: Use) -> float | None:
    """Return the dated list price of an instance hour for a use, or None when it is unknown."""
    return dated_price(Item(instance_type, use), region).usd_per_hour


def choose_training_instance(region: str, *, finetune: bool, requested: str | None = None) -> InstanceChoice:
    """Choose the instance type of a training job.

    With a frozen backbone every image passes through the network once and the head trains on the stored embeddings, so
    a GPU would idle most of the time (in us-east-1 an ml.g4dn.xlarge costs 3.2 times an ml.m5.xlarge). Fine-tuning
    runs the backbone forwards and backwards in every epoch, where a GPU is cheaper.
    """
    if requested is not None:
        return _choice(region, requested, "named by the user (--instance-type)", "Training")
    usual, with_gpu, _ = TRAINING_TYPES
    if finetune:
        why = f"fine-tuning runs the backbone both ways every epoch: the cheapest type with a GPU in {REGION}"
        return _choice(region, with_gpu, why, "Training")
    why = (
        "frozen backbone: one forward pass per image, then a small head on kept embeddings; "
        f"a GPU type {_compared(region, usual, with_gpu)} and would idle during the head's epochs"
    )
    return _choice(region, usual, why, "Training")


def _compared(region: str, usual: str, other: str) -> str:
    """Return what a training type costs against the usual one, as far as the prices of the region are known."""
    cheap, dear = (usd_per_hour(name, region, "Training") for name in (usual, other))
    if cheap is None or dear is None:
        return f"(its price in {region} is not known)"
    return f"costs {dear / cheap:.1f} times as much (in {region})"


def choose_hosting_instance(region: str, requested: str | None = None) -> InstanceChoice:
    """Choose the instance type of the endpoint; burstable types are excluded, because they cannot autoscale."""
    if requested is not None:
        return _choice(region, requested, "named by the user (--endpoint-instance-type)", "Hosting")
    why = (
        "one image at a time on a compiled CPU graph; the smallest type that is not burstable (those cannot autoscale)"
    )
    return _choice(region, HOSTING_TYPES[0], why, "Hosting")


def choose_notebook_instance(region: str, requested: str | None = None, *, memory_gib: int = 4) -> InstanceChoice:
    """Choose the smallest instance type of a notebook that has enough memory.

    A notebook shows data and calls endpoints; heavy work runs in jobs. So 4 GiB are enough, and a burstable type fits,
    because a notebook mostly waits for its user.

    Raises:
        ValueError: no type in the table has that much memory.
    """
    if requested is not None:
        return _choice(region, requested, "named by the user (--instance-type)", "Notebook")
    sufficient = [name for name, memory in NOTEBOOK_MEMORY_GIB.items() if memory >= memory_gib]
    if not sufficient:
        most = max(NOTEBOOK_MEMORY_GIB.values())
        raise ValueError(f"memory_gib={memory_gib} is too much: the largest notebook type has {most} GiB")
    why = (
        f"the smallest of {len(sufficient)} notebook types with at least {memory_gib} GiB of memory; "
        "training and serving run elsewhere"
    )
    return _choice(region, sufficient[0], why, "Notebook")


def cost_usd(usd_per_hour: float | None, instance_count: int, billable_seconds: float) -> float | None:
    """Return the cost of `billable_seconds` on each of `instance_count` instances, or None if the price is unknown."""
    return None if usd_per_hour is None else usd_per_hour * instance_count * billable_seconds / 3600.0


def _choice(region: str, instance_type: str, reason: str, use: Use) -> InstanceChoice:
    family = instance_type.split(".")[1] if instance_type.count(".") == 2 else ""
    return InstanceChoice(instance_type, reason, usd_per_hour(instance_type, region, use), family[:1] in {"g", "p"})
