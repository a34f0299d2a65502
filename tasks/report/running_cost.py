"""Tells what is alive of a run costs by the hour, by kind, from the run's records and dated list prices.

AWS is not asked. What is billed by use (calls, storage, transfer) is not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tasks.account.prices import usd_per_hour
from tasks.notebook.records import NotebookRef
from tasks.run.handle import RunFolder
from tasks.run.ledger_contents import LedgerRow
from tasks.run.options import MOST_INSTANCES, MOST_WORKERS
from tasks.run.records import EndpointRef, InstanceRef, StagingJobs, TrainedModel
from tasks.scaling.prices import HOURS_A_MONTH, list_prices
from tasks.verdicts.check import ScalingVerdicts

BY_USE, FREE = "by use", "free"
_BY_USE = ("bucket", "s3-prefix", "log-group", "function")


@dataclass(frozen=True)
class HourlyCost:
    """From the `least` to the `most` USD an hour, None at an unknown price, and what it was computed from."""

    least: float | None
    most: float | None
    basis: str

    @property
    def text(self) -> str:
        """The amounts: "0.153", "0.115 to 0.345", "0", "unknown"."""
        if self.least is None or self.most is None:
            return "unknown"
        least, most = (f"{usd:.3f}" if usd else "0" for usd in (self.least, self.most))
        return least if least == most else f"{least} to {most}"


@dataclass(frozen=True)
class LiveResources:
    """The live rows of one kind in a run's ledger, and what they cost."""

    kind: str
    names: tuple[str, ...]
    cost: HourlyCost


def live_by_kind(run: RunFolder, region: str, live: Iterable[LedgerRow]) -> list[LiveResources]:
    """Return what is alive of a run: kinds at an unknown price first, then the dearest.

    Raises:
        LedgerRefused: a record of the run cannot be read.
    """
    kinds: dict[str, list[LedgerRow]] = {}
    for row in live:
        kinds.setdefault(row.kind, []).append(row)
    scaled = "scalable-target" in kinds
    found = [
        LiveResources(kind, tuple(row.name for row in rows), _cost(_Priced(run, region, tuple(rows), scaled), kind))
        for kind, rows in kinds.items()
    ]
    return sorted(found, key=lambda each: (each.cost.most is not None, -(each.cost.most or 0.0), each.kind))


def total_cost(live: Sequence[LiveResources]) -> HourlyCost:
    """Return what is alive costs in all; what has no known price is not counted, and that is its basis."""
    known = [each.cost for each in live if each.cost.least is not None and each.cost.most is not None]
    unknown = [each.kind for each in live if each.cost.most is None]
    basis = f"without {', '.join(unknown)} at an unknown price" if unknown else "at list prices"
    return HourlyCost(sum(cost.least or 0.0 for cost in known), sum(cost.most or 0.0 for cost in known), basis)


@dataclass(frozen=True)
class _Priced:
    """What a price is computed from: the live rows of one kind, and whether the endpoint is scaled."""

    run: RunFolder
    region: str
    rows: tuple[LedgerRow, ...]
    is_scaled: bool


def _cost(priced: _Priced, kind: str) -> HourlyCost:
    if kind in _PRICED:
        return _PRICED[kind](priced)
    return HourlyCost(0.0, 0.0, BY_USE if kind in _BY_USE else FREE)


def _endpoint(priced: _Priced) -> HourlyCost:
    endpoint, verdicts = priced.run.find(EndpointRef), priced.run.find(ScalingVerdicts)
    if endpoint is None or len(priced.rows) > 1:
        return HourlyCost(None, None, "their records are not known")
    low, high = endpoint.instance_count, endpoint.instance_count
    if priced.is_scaled and verdicts is not None:
        low, high = verdicts.plan.count("min_instances"), verdicts.plan.count("max_instances")
    rate = usd_per_hour(endpoint.instance_type, priced.region, "Hosting")
    count = f"{low}" if low == high else f"{low} to {high}"
    return HourlyCost(_times(rate, low), _times(rate, high), f"{count} × {endpoint.instance_type}")


def _provisioned(priced: _Priced) -> HourlyCost:
    verdicts = priced.run.find(ScalingVerdicts)
    if verdicts is None or len(priced.rows) > 1:
        return HourlyCost(None, None, "its plan is not known")
    plan = verdicts.plan
    executions, memory = plan.count("provisioned_concurrency"), plan.count("function_memory")
    usd = _times(list_prices("", priced.region).provisioned(executions, memory), 1 / HOURS_A_MONTH)
    return HourlyCost(usd, usd, f"{executions} × {memory} MB")


def _instances(priced: _Priced) -> HourlyCost:
    numbers = range(1, MOST_INSTANCES + MOST_WORKERS + 1)
    kept = (priced.run.find(InstanceRef, number=number) for number in numbers)
    known = {ref.instance_id: ref for ref in kept if ref is not None}
    found = [ref for row in priced.rows if (ref := known.get(row.identifier or "")) is not None]
    prices = [ref.usd_per_hour for ref in found if ref.usd_per_hour is not None]
    if len(prices) < len(priced.rows):
        return HourlyCost(None, None, "the price of one is unknown")
    types = Counter(ref.instance_type for ref in found)
    basis = ", ".join(f"{count} × {name}" for name, count in sorted(types.items()))
    return HourlyCost(sum(prices), sum(prices), basis)


def _notebook(priced: _Priced) -> HourlyCost:
    notebook = priced.run.find(NotebookRef)
    if notebook is None or len(priced.rows) > 1:
        return HourlyCost(None, None, "its record is missing")
    return HourlyCost(0.0, notebook.state.usd_per_hour, f"{notebook.state.instance_type} while it is InService")


def _jobs(priced: _Priced) -> HourlyCost:
    """Return 0 when the newest job has ended: the run then has its model. Of one that runs no record has the machines.

    A model of an earlier job says nothing of a later one; a tuning job ends before the training whose model is kept.
    """
    model, newest = priced.run.find(TrainedModel), priced.rows[-1]
    if model is not None and (newest.kind == "tuning-job" or newest.name == model.job_name):
        return HourlyCost(0.0, 0.0, FREE)
    return HourlyCost(None, None, "billed by the second while it runs")


def _staging(priced: _Priced) -> HourlyCost:
    """Return 0 when all of the jobs have ended, as their record says."""
    kept = priced.run.find(StagingJobs)
    ended = set() if kept is None else {each.job_name for each in kept.attempts}
    if {row.name for row in priced.rows} <= ended:
        return HourlyCost(0.0, 0.0, FREE)
    return HourlyCost(None, None, "billed by the second while it runs")


_PRICED: dict[str, Callable[[_Priced], HourlyCost]] = {
    "endpoint": _endpoint,
    "provisioned-concurrency": _provisioned,
    "instance": _instances,
    "notebook-instance": _notebook,
    "training-job": _jobs,
    "tuning-job": _jobs,
    "processing-job": _staging,
}


def _times(rate: float | None, count: float) -> float | None:
    return None if rate is None else rate * count
