"""Makes the plan of a run: what it will create, on which machines, and what that costs. Nothing is created or changed.

Without an AWS (an embedded one that does not run) everything is to be created, and the prices are the dated ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.account.price_list import find_prices
from tasks.account.price_table import Item, Price, dated_price
from tasks.plan.actions import Step, all_created, find_actions
from tasks.plan.costs import NOT_COUNTED, Cost, Earlier, Usd, costs_of, total
from tasks.plan.machines import Machines, machines_of, priced_items
from tasks.plan.names import known_names
from tasks.plan.resources import planned_resources, unknown_names
from tasks.plan.serving_costs import Month, WorstCase, month_of, most_instances, worst_case
from tasks.plan.wanted import Limits, Wanted
from tasks.run.aws import Aws
from tasks.run.errors import LedgerRefused
from tasks.run.handle import Run
from tasks.run.ledger_contents import run_folders
from tasks.run.record_store import AnyRecord, load_record
from tasks.run.records import InstanceModel, TrainedModel, TrainingResult
from tasks.run.settings import Settings
from tasks.scaling.choice import ScalingPlan
from tasks.scaling.prices import list_prices

EMBEDDED_ACCOUNT = "123456789012"


@dataclass(frozen=True)
class RunPlan:
    """What a run will do and cost. `is_billed`: AWS bills it; otherwise the costs are what AWS would bill."""

    run_id: str
    account_id: str
    region: str
    is_billed: bool
    steps: tuple[Step, ...]
    machines: tuple[Machines, ...]
    costs: tuple[Cost, ...]
    month: Month
    worst_case: WorstCase
    limits: Limits

    @property
    def usd(self) -> Usd | None:
        """What the run costs until the command ends, or None when a price is unknown."""
        return total(self.costs)

    @property
    def unknown(self) -> list[str]:
        """The parts of the run whose cost is unknown."""
        return [each.what for each in self.costs if each.usd is None]

    def count(self, action: str) -> int:
        """Return how many resources the run creates, adopts, replaces or refuses."""
        return sum(step.action == action for step in self.steps)

    @property
    def prices(self) -> dict[str, list[str]]:
        """The types by the source of their prices; a source begins with its date, or says that a price is unknown."""
        found: dict[str, list[str]] = {}
        for machines in self.machines:
            for each in machines.candidates:
                found.setdefault(each.price.source, []).append(f"{each.item.instance_type} ({each.item.use})")
        return found


def make_plan(wanted: Wanted, limits: Limits, aws: Aws | None, settings: Settings) -> RunPlan:
    """Make the plan of a run; `aws` None: there is none to look at.

    Raises:
        SettingsRefused: an instance type is none.
        LedgerRefused: a record of the run cannot be read.
        TargetRefused: the caller's account is not the one that the user named.
        AwsFailed: a lookup failed.
    """
    account = EMBEDDED_ACCOUNT if aws is None else aws.account_id
    steps = _steps(wanted, limits, aws, settings, account)
    items = priced_items(wanted, settings.region)
    prices = _dated(items, settings.region) if aws is None else find_prices(aws, items)
    machines = machines_of(wanted, settings.region, prices)
    endpoint = machines[-1]
    usual = list_prices(endpoint.chosen.item.instance_type, settings.region)
    costs = costs_of(wanted, _still_needed(machines, steps), usual, earlier_of(settings.runs, machines, account))
    scaling = _scaling(settings.run_dir(wanted.run_id)) if wanted.is_checked else None
    return RunPlan(
        run_id=wanted.run_id,
        account_id=account,
        region=settings.region,
        is_billed=aws is not None and aws.target.is_billed,
        steps=tuple(steps),
        machines=tuple(machines),
        costs=tuple(costs),
        month=month_of(wanted, endpoint, usual, scaling),
        worst_case=worst_case(total(costs), endpoint, limits, most_instances(wanted, scaling)),
        limits=limits,
    )


def earlier_of(runs: Path, machines: Iterable[Machines], account_id: str) -> Earlier:
    """Return the billed seconds of the finished trainings of an account on the same number of the same machines.

    A record that cannot be read is left out. What EC2 bills is summed over its instances.
    """
    by_purpose = {each.purpose: each for each in machines}
    training, ec2 = by_purpose["training"], by_purpose.get("EC2 training")
    jobs = [
        each.billable_seconds
        for each in _records(runs, TrainedModel)
        if f":{account_id}:" in each.job_arn and _ran_on(each, training)
    ]
    if ec2 is None:
        return Earlier(tuple(jobs))
    remote = _records(runs, InstanceModel)
    billed = [each.billable_seconds / each.instance_count for each in remote if _ran_on(each, ec2)]
    return Earlier(tuple(jobs), tuple(billed))


def plan_json(plan: RunPlan) -> dict[str, Any]:
    """Return the plan as plain data; what is unknown is None, never 0."""
    return {
        "run_id": plan.run_id,
        "account": plan.account_id,
        "region": plan.region,
        "is_billed": plan.is_billed,
        "resources": [
            {**asdict(step.resource), "action": step.action, "note": step.note or step.resource.note}
            for step in plan.steps
        ],
        "machines": [_machines_json(each) for each in plan.machines],
        "costs": [asdict(each) for each in plan.costs],
        "usd": None if plan.usd is None else asdict(plan.usd),
        "unknown": plan.unknown,
        "month": asdict(plan.month),
        "worst_case": asdict(plan.worst_case),
        "limits": asdict(plan.limits),
        "not_counted": NOT_COUNTED,
    }


def _machines_json(machines: Machines) -> dict[str, Any]:
    return {
        "purpose": machines.purpose,
        "count": machines.count,
        "instance_type": machines.chosen.item.instance_type,
        "spot": machines.is_spot,
        "reason": machines.reason,
        "usd_per_hour": machines.usd_per_hour,
        "candidates": [{**asdict(each.item), **asdict(each.price)} for each in machines.candidates],
    }


def _steps(wanted: Wanted, limits: Limits, aws: Aws | None, settings: Settings, account_id: str) -> list[Step]:
    if aws is None:
        bucket = settings.bucket_for(account_id)
        return all_created(planned_resources(wanted, bucket, unknown_names(wanted, bucket), limits, settings.region))
    names = known_names(Run(aws, wanted.run_id), wanted)
    return find_actions(aws, wanted.run_id, planned_resources(wanted, aws.bucket, names, limits, aws.region))


def _still_needed(machines: Iterable[Machines], steps: Iterable[Step]) -> list[Machines]:
    """Return the machines that the run will pay for: an adopted training is paid for already."""
    made = {step.resource.kind for step in steps if step.action == "create"}
    starts = {"staging": "processing-job", "training": "training-job", "EC2 training": "instance"}
    return [each for each in machines if each.purpose == "endpoint" or starts[each.purpose] in made]


def _dated(items: Iterable[Item], region: str) -> dict[Item, Price]:
    return {item: dated_price(item, region) for item in items}


def _scaling(run_dir: Path) -> ScalingPlan | None:
    """Return the scaling plan of the run's last checked load test, or None without one that can be read."""
    from tasks.verdicts.check import ScalingVerdicts  # what it imports would delay every other plan

    try:
        found = load_record(run_dir, ScalingVerdicts)
    except LedgerRefused:
        return None
    return None if found is None else found.plan


def _records(runs: Path, kind: type[AnyRecord]) -> Iterator[AnyRecord]:
    for folder in run_folders(runs):
        try:
            found = load_record(folder, kind)
        except LedgerRefused:
            continue
        if found is not None:
            yield found


def _ran_on(model: TrainingResult, machines: Machines) -> bool:
    chosen = machines.chosen.item.instance_type, machines.count, machines.is_spot
    return chosen == (model.instance_type, model.instance_count, model.spot)
