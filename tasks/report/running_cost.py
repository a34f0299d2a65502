"""Tells what is alive of a run costs by the hour, by kind, from the run's records and dated list prices.

AWS is not asked. What is billed by use (calls, storage, transfer) is not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tasks.account.prices import usd_per_hour
from tasks.notebook.records import NotebookRef
from tasks.run.handle import RunFolder
from tasks.run.ledger_contents import LedgerRow
from tasks.run.options import MOST_INSTANCES
from tasks.run.records import EndpointRef, InstanceRef
from tasks.scaling.prices import HOURS_A_MONTH, list_prices
from tasks.verdicts.check import ScalingVerdicts

BY_USE, FREE = "by use", "free"
_BY_USE = ("bucket", "s3-prefix", "log-group", "function", "training-job", "tuning-job")


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
class Alive:
    """The live rows of one kind in a run's ledger."""

    run: RunFolder
    region: str
    kind: str
    rows: tuple[LedgerRow, ...]

    @property
    def cost(self) -> HourlyCost:
        """What they cost.

        Raises:
            LedgerRefused: a record of the run cannot be read.
        """
        if self.kind in _PRICED:
            return _PRICED[self.kind](self)
        return HourlyCost(0.0, 0.0, BY_USE if self.kind in _BY_USE else FREE)


def alive_by_kind(run: RunFolder, region: str, live: Iterable[LedgerRow]) -> list[Alive]:
    """Return what is alive of a run, the dearest kind first, and before it those at an unknown price.

    Raises:
        LedgerRefused: a record of the run cannot be read.
    """
    kinds: dict[str, list[LedgerRow]] = {}
    for row in live:
        kinds.setdefault(row.kind, []).append(row)
    found = [Alive(run, region, kind, tuple(rows)) for kind, rows in kinds.items()]
    return sorted(found, key=lambda each: (each.cost.most is not None, -(each.cost.most or 0.0), each.kind))


def _endpoint(alive: Alive) -> HourlyCost:
    endpoint, verdicts = alive.run.find(EndpointRef), alive.run.find(ScalingVerdicts)
    if endpoint is None:
        return HourlyCost(None, None, "its record is missing")
    plan, low, high = verdicts and verdicts.plan, endpoint.instance_count, endpoint.instance_count
    if plan:
        low, high = plan.count("min_instances"), plan.count("max_instances")
    rate = usd_per_hour(endpoint.instance_type, alive.region, "Hosting")
    count = f"{low}" if low == high else f"{low} to {high}"
    return HourlyCost(_times(rate, low), _times(rate, high), f"{count} × {endpoint.instance_type}")


def _provisioned(alive: Alive) -> HourlyCost:
    verdicts = alive.run.find(ScalingVerdicts)
    if verdicts is None:
        return HourlyCost(None, None, "its plan is missing")
    plan = verdicts.plan
    executions, memory = plan.count("provisioned_concurrency"), plan.count("function_memory")
    usd = _times(list_prices("", alive.region).provisioned(executions, memory), 1 / HOURS_A_MONTH)
    return HourlyCost(usd, usd, f"{executions} × {memory} MB")


def _instances(alive: Alive) -> HourlyCost:
    kept = (alive.run.find(InstanceRef, number=number) for number in range(1, MOST_INSTANCES + 1))
    known = {ref.instance_id: ref for ref in kept if ref is not None}
    found = [ref for row in alive.rows if (ref := known.get(row.identifier or "")) is not None]
    prices = [ref.usd_per_hour for ref in found if ref.usd_per_hour is not None]
    if len(prices) < len(alive.rows):
        return HourlyCost(None, None, "the price of one is unknown")
    types = Counter(ref.instance_type for ref in found)
    basis = ", ".join(f"{count} × {name}" for name, count in sorted(types.items()))
    return HourlyCost(sum(prices), sum(prices), basis)


def _notebook(alive: Alive) -> HourlyCost:
    notebook = alive.run.find(NotebookRef)
    if notebook is None:
        return HourlyCost(None, None, "its record is missing")
    return HourlyCost(0.0, notebook.state.usd_per_hour, f"{notebook.state.instance_type} while it is InService")


_PRICED: dict[str, Callable[[Alive], HourlyCost]] = {
    "endpoint": _endpoint,
    "provisioned-concurrency": _provisioned,
    "instance": _instances,
    "notebook-instance": _notebook,
}


def _times(rate: float | None, count: float) -> float | None:
    return None if rate is None else rate * count
