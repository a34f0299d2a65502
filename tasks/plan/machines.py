"""Lists the machines of a run, the types that were considered for each, and what an hour of each costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tasks.account.price_table import Item, Price, Use
from tasks.account.prices import (
    HOSTING_TYPES,
    TRAINING_TYPES,
    InstanceChoice,
    choose_hosting_instance,
    choose_training_instance,
)
from tasks.ec2.prices import SPOT_NOTE, choose_instances
from tasks.plan.wanted import Wanted

Purpose = Literal["staging", "training", "EC2 training", "endpoint"]


@dataclass(frozen=True)
class Candidate:
    """A type that was considered; `price` is that of one instance on the market that is used first."""

    item: Item
    price: Price


@dataclass(frozen=True)
class Machines:
    """The instances of one purpose: `count` of the first candidate, whose choice `reason` explains.

    `is_fallback` says whether another candidate is used where AWS has none of the first.
    """

    purpose: Purpose
    count: int
    candidates: tuple[Candidate, ...]
    reason: str
    is_spot: bool = False
    is_fallback: bool = False

    @property
    def chosen(self) -> Candidate:
        """The type that is used, if AWS has it."""
        return self.candidates[0]

    @property
    def label(self) -> str:
        """Count, type and market."""
        return f"{self.count} × {self.chosen.item.instance_type}{' spot' if self.is_spot else ''}"

    @property
    def usd_per_hour(self) -> float | None:
        """What an hour of all instances costs, or None when it is unknown."""
        usd = self.chosen.price.usd_per_hour
        return None if usd is None else self.count * usd

    @property
    def most_usd_per_hour(self) -> float | None:
        """What an hour costs at most, with the dearest type that may be used; None when one is unknown."""
        usable = self.candidates if self.is_fallback else self.candidates[:1]
        prices = [each.price.usd_per_hour for each in usable]
        known = [price for price in prices if price is not None]
        return self.count * max(known) if len(known) == len(prices) else None


def priced_items(wanted: Wanted, region: str) -> list[Item]:
    """Return every type and use whose price a plan needs."""
    return [item for purpose in _purposes(wanted, region) for item in purpose.items]


def machines_of(wanted: Wanted, region: str, prices: Mapping[Item, Price]) -> list[Machines]:
    """Return the machines of a run, in the order of its stages.

    Raises:
        SettingsRefused: a type that the user named is no type.
    """
    return [_machines(each, prices) for each in _purposes(wanted, region)]


@dataclass(frozen=True)
class _Purpose:
    purpose: Purpose
    count: int
    items: tuple[Item, ...]
    reason: str
    is_spot: bool = False


def _purposes(wanted: Wanted, region: str) -> list[_Purpose]:
    training, deploy, ec2 = wanted.training, wanted.deploy, wanted.ec2
    chosen = choose_training_instance(region, finetune=training.finetune, requested=training.instance_type)
    trained = _items("Training", chosen, TRAINING_TYPES)
    staging = [_staging(wanted, region)] if wanted.staging.is_remote else []
    found = [*staging, _Purpose("training", training.instances, trained, chosen.reason, training.spot)]
    if ec2 is not None:
        candidates = choose_instances(finetune=ec2.finetune, requested=ec2.instance_type)
        items = tuple(Item(each.name, "EC2") for each in candidates.types)
        found.append(_Purpose("EC2 training", ec2.instances, items, candidates.reason, ec2.spot))
    hosting = choose_hosting_instance(region, deploy.instance_type)
    served = _items("Hosting", hosting, HOSTING_TYPES)
    return [*found, _Purpose("endpoint", deploy.instances, served, hosting.reason)]


def _staging(wanted: Wanted, region: str) -> _Purpose:
    chosen = choose_training_instance(region, finetune=False, requested=wanted.staging.stage_instance_type)
    reason = "decoding is work of the processor alone; priced as for training"
    return _Purpose("staging", wanted.staging.stage_instances, (Item(chosen.instance_type, "Training"),), reason)


def _items(use: Use, chosen: InstanceChoice, considered: Iterable[str]) -> tuple[Item, ...]:
    """Return the chosen type and, unless the user named it, the others that were considered."""
    others = () if "named by the user" in chosen.reason else considered
    return tuple(Item(name, use) for name in dict.fromkeys([chosen.instance_type, *others]))


def _machines(purpose: _Purpose, prices: Mapping[Item, Price]) -> Machines:
    is_on_ec2 = purpose.purpose == "EC2 training"
    candidates = [Candidate(item, prices[item]) for item in purpose.items]
    if purpose.is_spot:
        candidates = [_on_spot(each, is_on_ec2=is_on_ec2) for each in candidates]
    return Machines(
        purpose.purpose, purpose.count, tuple(candidates), purpose.reason, purpose.is_spot, is_fallback=is_on_ec2
    )


def _on_spot(candidate: Candidate, *, is_on_ec2: bool) -> Candidate:
    """Return a candidate on the spot market, whose price nobody knows before; it is not above that on demand."""
    usd, source = candidate.price.usd_per_hour, candidate.price.source
    if usd is None:
        return candidate
    note = f"on demand, which spot does not exceed ({SPOT_NOTE})" if is_on_ec2 else "on demand; spot costs less"
    return Candidate(candidate.item, Price(usd, f"{source}; {note}"))
