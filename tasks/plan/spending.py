"""Adds up what a run has cost so far: billed seconds times the rate, of trainings and of the endpoint since it serves.

What earlier commands of the run cost counts too. A part at an unknown price is named and not counted. The function's
calls, storage and transfer are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from tasks.account.prices import cost_usd, usd_per_hour
from tasks.load.workers.record import LoadWorkers
from tasks.plan.text import amount
from tasks.run.clock import AwsClock
from tasks.run.errors import SpendingRefused
from tasks.run.handle import Run
from tasks.run.records import EndpointRef, InstanceModel, StagingJobs, TrainedModel
from tasks.run.waiting import say


@dataclass(frozen=True)
class Spent:
    """What one part of a run has cost; `usd` is None at an unknown price."""

    what: str
    usd: float | None


def spent_by(run: Run, now: datetime | None = None) -> list[Spent]:
    """Return what each part of the run has cost until now, which is in AWS's time.

    Raises:
        LedgerRefused: a record of the run cannot be read.
    """
    return list(_parts(run, now or AwsClock.from_settings(run.settings).now()))


def require_unspent(run: Run, budget_usd: float | None) -> float:
    """Return what a run with a budget has cost, at known prices, if that is not more; 0 without a budget.

    Raises:
        SpendingRefused: it has; the error says what to do.
        LedgerRefused: a record of the run cannot be read.
    """
    if budget_usd is None:
        return 0.0
    parts = spent_by(run)
    for each in parts:
        if each.usd is None:
            say(f"budget: the price of {each.what} is unknown, so its cost is not counted")
    usd = sum(each.usd for each in parts if each.usd is not None)
    if usd <= budget_usd:
        return usd
    what = f"run {run.id} has cost {amount(usd)} USD, and the budget is {amount(budget_usd)} USD"
    why = ", ".join(f"{each.what} {amount(each.usd)}" for each in parts)
    todo = f"kennel down {run.id}, which ends what costs; or the same command with a larger --budget, which adopts it"
    raise SpendingRefused("budget", what, why, todo)


def _parts(run: Run, now: datetime) -> Iterator[Spent]:
    model, ec2, endpoint = run.find(TrainedModel), run.find(InstanceModel), run.find(EndpointRef)
    region = run.aws.region
    staged = run.find(StagingJobs)
    for job in () if staged is None else staged.attempts:
        rate = usd_per_hour(job.instance_type, region, "Training")  # AWS has one price for both
        cost = cost_usd(rate, job.instance_count, job.seconds)
        yield Spent(f"staging job {job.job_name} on {job.instance_count} × {job.instance_type}", cost)
    if model is not None:
        rate = usd_per_hour(model.instance_type, region, "Training")
        seconds = model.instance_count * model.billable_seconds + model.search_billable_seconds
        cost = cost_usd(rate, 1, seconds)
        yield Spent(f"training on {model.instance_count} × {model.instance_type}", cost)
    if ec2 is not None:
        yield Spent(f"training on EC2, {ec2.instance_count} × {ec2.instance_type}", ec2.cost_usd)
    workers = run.find(LoadWorkers)
    if workers is not None:
        yield Spent(
            f"load tests from EC2, last {len(workers.instance_ids)} × {workers.instance_type}", workers.cost_usd
        )
    if endpoint is not None and endpoint.created:
        seconds = max(0.0, (now - datetime.fromisoformat(endpoint.created)).total_seconds())
        rate = usd_per_hour(endpoint.instance_type, region, "Hosting")
        cost = cost_usd(rate, endpoint.instance_count, seconds)
        yield Spent(f"endpoint on {endpoint.instance_count} × {endpoint.instance_type}", cost)
