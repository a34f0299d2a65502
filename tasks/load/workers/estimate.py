"""Estimates what the workers of a load test cost, and how many a higher rate would need. The functions are pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tasks.ec2.prices import MINIMUM_BILLED_SECONDS, TABLE, TABLE_SOURCE, InstanceCandidates, choose_instances, cost_usd
from tasks.load.options import LoadOptions, WorkerOptions
from tasks.run.errors import SpendingRefused

PREPARE_SECONDS = 900.0
"""The deadline for installing Locust on an instance."""

LOGIN_SECONDS = 300.0
REST_SECONDS = 180.0
"""What a load test may take beyond its own seconds: Locust's start, the warm-up, late answers, the last heartbeat."""

USUAL_SECONDS = 90.0
BUSY_SHARE = 0.8
"""A generator's processor is planned to be this busy; a run in which it is more than 90 % busy is void."""

GOAL_RPS = 100_000.0
_REASON = (
    "a load generator computes and waits for the network: the newest general-purpose processors per USD come first"
)


@dataclass(frozen=True)
class Estimate:
    """What `count` instances usually cost, at least and at most; None without a known price."""

    count: int
    instance_type: str
    usd_per_hour: float | None
    least_seconds: float
    most_seconds: float

    @property
    def least_usd(self) -> float | None:
        """What they cost if nothing has to be waited for."""
        return self._usd(self.least_seconds)

    @property
    def most_usd(self) -> float | None:
        """What they usually cost at most: waits for other instances' launches and for the end are not counted."""
        return self._usd(self.most_seconds)

    def _usd(self, seconds: float) -> float | None:
        cost = cost_usd(self.usd_per_hour, seconds)
        return None if cost is None else self.count * cost

    def text(self) -> str:
        """Return the estimate in one line."""
        machines = f"{self.count} × {self.instance_type} on demand"
        if self.usd_per_hour is None or self.least_usd is None or self.most_usd is None:
            seconds = f"{self.least_seconds:,.0f} to {self.most_seconds:,.0f} s"
            return f"{machines}, at a price that is not known, usually for {seconds}"
        each = f"{self.usd_per_hour:.4f} USD an hour each"
        amounts = f"usually {self.least_usd:.3f} to {self.most_usd:.2f} USD"
        return f"{machines}, {each}: {amounts} for {self.least_seconds:,.0f} to {self.most_seconds:,.0f} s"


def worker_candidates(requested: str | None) -> InstanceCandidates:
    """Return the types of instances that may be workers, in the order in which they are tried.

    Raises:
        SettingsRefused: `requested` is no EC2 type.
    """
    chosen = choose_instances(finetune=False, requested=requested)
    return chosen if requested else InstanceCandidates(chosen.types, _REASON, TABLE_SOURCE)


def estimate(load: LoadOptions, workers: WorkerOptions, candidates: InstanceCandidates) -> Estimate:
    """Return what the workers of a load test cost; the dearest type that may be used counts."""
    first = candidates.types[0]
    prices = [each.usd_per_hour for each in candidates.types]
    known = [each for each in prices if each is not None]
    dearest = max(known) if len(known) == len(prices) else None
    least = max(MINIMUM_BILLED_SECONDS, load.seconds + USUAL_SECONDS)
    most = LOGIN_SECONDS + PREPARE_SECONDS + REST_SECONDS + load.seconds
    return Estimate(workers.workers, first.name, dearest, least, most)


def require_within_budget(costs: Estimate, budget_usd: float | None, *, spent_usd: float = 0.0) -> None:
    """Return if the workers usually cost no more than what the run has left of its budget, or if there is none.

    Raises:
        SpendingRefused: they may cost more, or their price is not known.
    """
    if budget_usd is None:
        return
    if costs.most_usd is None:
        what, why = f"it is not known what {costs.text()} cost", "the type has no known price"
        raise SpendingRefused("load workers", what, why, "choose a type with a known price, or leave --budget out")
    needed = costs.most_usd + spent_usd
    if needed > budget_usd:
        what = f"{costs.text()}, and the budget is {budget_usd:g} USD"
        what += f", of which the run has spent {spent_usd:.2f} USD" if spent_usd else ""
        why = "the deadlines of login, installation and test allow as much"
        raise SpendingRefused("load workers", what, why, f"--budget {needed + 0.005:.2f}, or fewer workers")


def capacity_text(
    requests_per_core: float, candidates: InstanceCandidates, *, busy: float, rps: float = GOAL_RPS
) -> str:
    """Return which instances would send `rps` requests a second, by the measured requests a core and second.

    `busy` is the share of a core that the measured generator used. What is measured on an idle one is the least that a
    core sends: it wakes up for each request, and a busy one sends several at once.
    """
    first = candidates.types[0]
    known = TABLE.get(first.name)
    processes = math.ceil(rps / (requests_per_core * BUSY_SHARE))
    most = "at most " if busy < BUSY_SHARE / 2 else ""
    rate = f"{requests_per_core:,.0f} requests a core and second, measured at {busy:.0%} of a core"
    if known is None or known.vcpus is None:
        return f"{rps:,.0f} requests/s would need {most}{processes} processors ({rate})"
    count = math.ceil(processes / known.vcpus)
    price = first.usd_per_hour
    cost = "at a price that is not known" if price is None else f"{count * price:.2f} USD an hour"
    machines = f"{count} × {first.name} of {known.vcpus} vCPUs, {cost}"
    return f"{rps:,.0f} requests/s would need {most}{processes} processes, {BUSY_SHARE:.0%} busy ({rate}): {machines}"
