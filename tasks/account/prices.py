"""Which instance a job runs on, why, and what it costs.

A small price table with its date, and one rule per decision. Nothing here calls AWS: the table is an estimate that the
report labels as one. Not covered: savings plans, storage, data transfer, other regions than the table's.
"""

from __future__ import annotations

from dataclasses import dataclass

PRICES_SOURCE = "aws.amazon.com/sagemaker/pricing, on-demand, us-east-1, list prices of 2025; an estimate, not a bill"

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
"""Training, real-time hosting and notebooks cost the same for these types; the t3 are for notebooks only."""

NOTEBOOK_MEMORY_GIB = {"ml.t3.medium": 4, "ml.t3.large": 8, "ml.t3.xlarge": 16, "ml.m5.xlarge": 16}
"""Types that a notebook instance may have, current generation, without a GPU."""


@dataclass(frozen=True)
class InstanceChoice:
    """An instance type and the reason for it; `usd_per_hour` is None for a type that the table does not hold."""

    instance_type: str
    reason: str
    usd_per_hour: float | None
    has_gpu: bool


def choose_training_instance(*, finetune: bool, requested: str | None = None) -> InstanceChoice:
    """Choose the instance type of a training job.

    Frozen backbone: every image passes through the network once and the head trains on the kept embeddings, so a GPU
    would idle for most of what it is paid for (an ml.g4dn.xlarge costs 3.2 times an ml.m5.xlarge). Fine-tuning runs the
    backbone forwards and backwards in every epoch: there a GPU is the cheaper machine.
    """
    if requested is not None:
        return _choice(requested, "named by the user (--instance-type)")
    if finetune:
        why = "fine-tuning runs the backbone both ways every epoch: the cheapest type with a GPU"
        return _choice("ml.g4dn.xlarge", why)
    ratio = USD_PER_HOUR["ml.g4dn.xlarge"] / USD_PER_HOUR["ml.m5.xlarge"]
    why = (
        "frozen backbone: one forward pass per image, then a small head on kept embeddings; "
        f"a GPU type costs {ratio:.1f} times as much and would idle during the head's epochs"
    )
    return _choice("ml.m5.xlarge", why)


def choose_hosting_instance(requested: str | None = None) -> InstanceChoice:
    """Choose the instance type of the endpoint (burstable types are left out: they cannot autoscale)."""
    if requested is not None:
        return _choice(requested, "named by the user (--endpoint-instance-type)")
    why = (
        "one image at a time on a compiled CPU graph; the smallest type that is not burstable (those cannot autoscale)"
    )
    return _choice("ml.m5.large", why)


def choose_notebook_instance(requested: str | None = None, *, memory_gib: int = 4) -> InstanceChoice:
    """Choose the cheapest type of the table with enough memory.

    A notebook looks at data, calls endpoints and starts jobs; what is heavy runs in those jobs, so 4 GiB is enough and
    a burstable type, which is paid for while it waits for a person, fits.

    Raises:
        ValueError: no type of the table has that much memory.
    """
    if requested is not None:
        return _choice(requested, "named by the user (--instance-type)")
    sufficient = [name for name, memory in NOTEBOOK_MEMORY_GIB.items() if memory >= memory_gib]
    if not sufficient:
        raise ValueError(f"memory_gib={memory_gib}: the largest notebook type has {max(NOTEBOOK_MEMORY_GIB.values())}")
    cheapest = min(sufficient, key=lambda name: USD_PER_HOUR[name])
    why = (
        f"the cheapest of {len(sufficient)} notebook types with at least {memory_gib} GiB of memory "
        f"({USD_PER_HOUR[cheapest]:.2f} USD an hour); training and serving run elsewhere"
    )
    return _choice(cheapest, why)


def cost_usd(instance_type: str, instance_count: int, billable_seconds: float) -> float | None:
    """Return what `billable_seconds` on each of `instance_count` instances cost, or None without a known price."""
    price = USD_PER_HOUR.get(instance_type)
    return None if price is None else price * instance_count * billable_seconds / 3600.0


def _choice(instance_type: str, reason: str) -> InstanceChoice:
    family = instance_type.split(".")[1] if instance_type.count(".") == 2 else ""
    return InstanceChoice(instance_type, reason, USD_PER_HOUR.get(instance_type), family[:1] in {"g", "p"})
