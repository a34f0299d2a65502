"""The record of the EC2 instances that sent the requests of a load test; importing it takes no time."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.run.record_store import Amount, Count, Record


@dataclass(frozen=True)
class LoadWorkers(Record, file="load-workers.json", called="load generators", made_by="loadtest"):
    """The EC2 instances that sent the requests of a run's last load test, and what all such instances of it cost.

    `processes` ran on each instance. `billable_seconds` and `cost_usd` are sums, over earlier load tests of the run
    too; `cost_usd` is None when a price was unknown.
    """

    instance_ids: tuple[str, ...]
    instance_type: str
    processes: Count
    billable_seconds: Amount
    cost_usd: Amount | None
    prices: str
