"""Chooses the EC2 types that a training may run on, and gives the reason and the price of an hour of each.

The prices are those of a dated table. When AWS's price list answers, its prices replace those of the table; the source
is recorded in both cases. Spot prices are estimates from a typical factor. Storage, data transfer and savings plans are
not covered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from tasks.account.price_list import UnreadablePrice, list_name, listed_price
from tasks.account.price_table import REGION as TABLE_REGION
from tasks.account.price_table import Item, dated_price
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused, error_code
from tasks.run.options import Ec2TrainingOptions

TABLE_DATE = "2026-07-20"
SPOT_NOTE = "spot at a typical fraction of that, an estimate"
TABLE_SOURCE = f"bundled list prices of {TABLE_DATE} for {TABLE_REGION}, Linux on-demand; {SPOT_NOTE}"
MINIMUM_BILLED_SECONDS = 60.0


@dataclass(frozen=True)
class InstanceType:
    """An EC2 type; `usd_per_hour` is the on-demand price, None when unknown, `spot_factor` the share paid for spot."""

    name: str
    vcpus: int | None
    memory_gib: float | None
    usd_per_hour: float | None
    spot_factor: float
    has_gpu: bool


def _type(name: str, vcpus: int, memory_gib: int, spot_factor: float, *, has_gpu: bool) -> InstanceType:
    usd = dated_price(Item(name, "EC2"), TABLE_REGION).usd_per_hour
    return InstanceType(name, vcpus, memory_gib, usd, spot_factor, has_gpu)


TABLE: Mapping[str, InstanceType] = {
    item.name: item
    for item in (
        _type("c7i.xlarge", 4, 8, 0.42, has_gpu=False),
        _type("c7i.2xlarge", 8, 16, 0.42, has_gpu=False),
        _type("c6i.xlarge", 4, 8, 0.42, has_gpu=False),
        _type("c6i.2xlarge", 8, 16, 0.42, has_gpu=False),
        _type("c5.xlarge", 4, 8, 0.42, has_gpu=False),
        _type("c5.2xlarge", 8, 16, 0.42, has_gpu=False),
        _type("m7i.xlarge", 4, 16, 0.42, has_gpu=False),
        _type("m5.large", 2, 8, 0.42, has_gpu=False),
        _type("m5.xlarge", 4, 16, 0.42, has_gpu=False),
        _type("m5.2xlarge", 8, 32, 0.42, has_gpu=False),
        _type("g4dn.xlarge", 4, 16, 0.42, has_gpu=True),
        _type("g4dn.2xlarge", 8, 32, 0.42, has_gpu=True),
        _type("g5.xlarge", 4, 16, 0.45, has_gpu=True),
        _type("g5.2xlarge", 8, 32, 0.45, has_gpu=True),
        _type("g6.xlarge", 4, 16, 0.45, has_gpu=True),
    )
}
"""The table has Nitro types only: they support an encrypted gp3 root volume and the current Deep Learning AMIs."""

FROZEN = ("c7i.xlarge", "m7i.xlarge", "c6i.xlarge", "c5.xlarge", "m5.xlarge")
FINETUNE = ("g4dn.xlarge", "g6.xlarge", "g5.xlarge", "g4dn.2xlarge", "g5.2xlarge")


@dataclass(frozen=True)
class Offer:
    """One type on one market (spot or on-demand), and the price of an hour; `subnet` None is EC2's choice."""

    instance_type: str
    is_spot: bool
    usd_per_hour: float | None
    has_gpu: bool
    subnet: str | None = None

    @property
    def label(self) -> str:
        """The offer's name in records, such as "c7i.xlarge spot"."""
        place = "" if self.subnet is None else f" in {self.subnet}"
        return f"{self.instance_type} {'spot' if self.is_spot else 'on-demand'}{place}"


@dataclass(frozen=True)
class InstanceCandidates:
    """The types to try, in order: `reason` says why the first, `prices` where the prices are from."""

    types: tuple[InstanceType, ...]
    reason: str
    prices: str

    def offers(self, *, spot: bool) -> tuple[Offer, ...]:
        """Return the offers to ask EC2 for, in order: with `spot`, all types on the spot market come first."""
        on_demand = tuple(Offer(item.name, False, item.usd_per_hour, item.has_gpu) for item in self.types)
        return (*(_spot_offer(item) for item in self.types), *on_demand) if spot else on_demand


def choose_instances(*, finetune: bool, requested: str | None = None) -> InstanceCandidates:
    """Choose the types for a training from the bundled table, without a call to AWS.

    Raises:
        SettingsRefused: `requested` is no EC2 type ("ml.m5.xlarge" is SageMaker's name).
    """
    if requested is not None:
        named = (TABLE.get(requested) or _unknown(requested),)
        return InstanceCandidates(named, "named by the user (--instance-type); no other type is tried", TABLE_SOURCE)
    names = FINETUNE if finetune else FROZEN
    return InstanceCandidates(
        tuple(TABLE[name] for name in names), _why_finetune() if finetune else _why_frozen(), TABLE_SOURCE
    )


def with_current_prices(aws: Aws, candidates: InstanceCandidates) -> InstanceCandidates:
    """Return the candidates with AWS's current list prices for the region, or unchanged when the list does not answer.

    `prices` says which of the two. A missing answer is no error, because nothing depends on a price; in another region
    than the table's, prices are then unknown.
    """
    try:
        listed = {item.name: listed_price(aws, Item(item.name, "EC2")) for item in candidates.types}
    except (ClientError, BotoCoreError, UnreadablePrice) as error:
        code = error_code(error) if isinstance(error, ClientError) else type(error).__name__
        why = f"{table_source(aws.region)} ({list_name(aws)} did not answer: {code})"
        known = tuple(item if aws.region == TABLE_REGION else _priced(item, None) for item in candidates.types)
        return dataclasses.replace(candidates, types=known, prices=why)
    types = tuple(_priced(item, listed[item.name]) for item in candidates.types)
    missing = sorted(name for name, price in listed.items() if price is None)
    source = f"{list_name(aws)} for {aws.region}, Linux on-demand; {SPOT_NOTE}"
    return dataclasses.replace(
        candidates, types=types, prices=source + (f"; not listed: {', '.join(missing)}" if missing else "")
    )


def table_source(region: str) -> str:
    """Return where the bundled table's prices are from, or that a region's are unknown."""
    return TABLE_SOURCE if region == TABLE_REGION else f"unknown: the bundled list prices are {TABLE_REGION}'s"


def cost_usd(usd_per_hour: float | None, seconds: float) -> float | None:
    """Return the cost of `seconds` of an instance, or None when the price is unknown; EC2 bills at least 60 s."""
    return None if usd_per_hour is None else usd_per_hour * max(MINIMUM_BILLED_SECONDS, seconds) / 3600.0


def hourly_price(region: str, instance_type: str, offers: Sequence[Offer], *, is_spot: bool) -> float | None:
    """Return the price of a type on a market in USD an hour: an offer's, else the bundled table's, else None."""
    for offer in offers:
        if (offer.instance_type, offer.is_spot) == (instance_type, is_spot):
            return offer.usd_per_hour
    known = TABLE.get(instance_type)
    if known is None or region != TABLE_REGION:
        return None
    return _spot_offer(known).usd_per_hour if is_spot else known.usd_per_hour


def _why_frozen() -> str:
    return (
        "frozen backbone: one forward pass per image, then a small head; 7th-generation Intel multiplies bfloat16 in "
        "hardware (AMX), which the 6th does not; a GPU would idle while the head is trained"
    )


def _why_finetune() -> str:
    return (
        "fine-tuning runs the backbone forward and backward in every epoch: the cheapest type with a GPU in "
        f"{TABLE_REGION}"
    )


def _unknown(name: str) -> InstanceType:
    family, _, size = name.partition(".")
    if not family.isalnum() or not size or name.startswith("ml."):
        why = "EC2's types are spelt family.size; names that begin with ml. are SageMaker's"
        raise SettingsRefused("instance type", name, why, f"--instance-type {FROZEN[0]}")
    return InstanceType(name, None, None, None, 0.42, has_gpu=family[:1] in {"g", "p"})


def _spot_offer(item: InstanceType) -> Offer:
    price = None if item.usd_per_hour is None else round(item.usd_per_hour * item.spot_factor, 4)
    return Offer(item.name, True, price, item.has_gpu)


def _priced(item: InstanceType, price: float | None) -> InstanceType:
    """Set a type's price; it becomes None when AWS does not list it: the table's is of another region or date."""
    return dataclasses.replace(item, usd_per_hour=price)


def candidate_types(training: Ec2TrainingOptions) -> list[str]:
    """Return the types of EC2 instances that the training may run on, in the order in which they are tried."""
    return [each.name for each in choose_instances(finetune=training.finetune, requested=training.instance_type).types]
