"""Says what a month of serving costs, and what the worst case is: until a time to live stops it, or without a limit."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.plan.costs import Usd
from tasks.plan.machines import Machines
from tasks.plan.wanted import Limits, Wanted
from tasks.scaling.choice import ScalingPlan
from tasks.scaling.prices import HOURS_A_MONTH, SECONDS_A_MONTH, Prices

NO_LIMIT = "no limit: the endpoint runs until `kennel down`"


@dataclass(frozen=True)
class Month:
    """What a month of serving costs: for the least and the most instances, and at the stated traffic.

    `usd` is None when a price or the number of instances is unknown; `text` says what is known.
    """

    usd: Usd | None
    text: str


@dataclass(frozen=True)
class WorstCase:
    """The most that a run may cost in the end; `usd` None: there is no limit, or it is not known."""

    usd: float | None
    text: str


def month_of(wanted: Wanted, endpoint: Machines, prices: Prices, scaling: ScalingPlan | None) -> Month:
    """Return a month's cost from the scaling plan of the run, if it has one, or from the instances asked for."""
    each = endpoint.chosen.price.usd_per_hour
    name = endpoint.chosen.item.instance_type
    if each is None:
        return Month(None, f"unknown: the price of {name} is unknown")
    if wanted.is_checked and scaling is not None:
        return _of_plan(scaling, each, name)
    if wanted.is_checked:
        least = HOURS_A_MONTH * each
        why = "how many are needed is known when the load test has measured one"
        return Month(None, f"{least:,.2f} USD for each {name} that always runs; {why}")
    usd = HOURS_A_MONTH * each * endpoint.count
    return Month(Usd(usd, usd, usd), f"{endpoint.label}, {HOURS_A_MONTH:g} h, not scaled{_requests(wanted, prices)}")


def worst_case(costs: Usd | None, endpoint: Machines, limits: Limits, instances: int | None) -> WorstCase:
    """Return the most that the run costs: its own most, and its endpoint until the time to live is over.

    `instances` is the largest number to which the endpoint may be scaled, None when that is not known yet. A budget
    stops the command, and nothing after it.
    """
    if limits.ttl_hours is None:
        stop = f"a budget ends the command, not the endpoint; {NO_LIMIT}"
        return WorstCase(None, NO_LIMIT if limits.budget_usd is None else stop)
    hourly, label = endpoint.chosen.price.usd_per_hour, f"{limits.ttl_hours:g} h"
    if costs is None or hourly is None or instances is None:
        why = "a price is unknown" if costs is None or hourly is None else "the largest number of instances is unknown"
        return WorstCase(None, f"unknown until the time to live of {label}: {why}")
    usd = costs.most + hourly * instances * limits.ttl_hours
    how = f"{instances} × {endpoint.chosen.item.instance_type} for {label}, if `kennel down --expired` runs then"
    return WorstCase(usd, how)


def most_instances(wanted: Wanted, scaling: ScalingPlan | None) -> int | None:
    """Return the most instances that the endpoint may have, None when only a measurement will tell."""
    if not wanted.is_checked:
        return wanted.deploy.instances
    return None if scaling is None else max(wanted.deploy.instances, scaling.count("max_instances"))


def _of_plan(scaling: ScalingPlan, each: float, name: str) -> Month:
    least, most = scaling.count("min_instances"), scaling.count("max_instances")
    usd = Usd(least * each * HOURS_A_MONTH, most * each * HOURS_A_MONTH, scaling.monthly_cost_usd)
    stated = "unknown" if usd.likely is None else f"{usd.likely:,.2f} USD"
    traffic = scaling.traffic
    return Month(
        usd,
        f"{least} to {most} × {name}; {stated} at the stated {traffic.baseline_rps:g} to {traffic.peak_rps:g} "
        "requests a second, function included",
    )


def _requests(wanted: Wanted, prices: Prices) -> str:
    """Return what the requests of the stated traffic cost, if there is one."""
    if wanted.traffic is None or prices.requests_usd_per_million is None:
        return "; the function's calls are billed by use"
    usd = wanted.traffic.mean_rps * SECONDS_A_MONTH * prices.requests_usd_per_million / 1e6
    return f"; {usd:,.2f} USD for the calls of {wanted.traffic.mean_rps:g} requests a second, and their seconds"
