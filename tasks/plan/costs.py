"""Estimates what a run costs: the least, the likely and the most of each part. An unknown price makes a cost unknown.

The most is bounded by limits that stop the work (of a training, of the function's time, of a wait). The likely is known
only where an earlier run of the same kind was billed. Not counted: storage, data transfer, logs, metrics, the free tier
and savings plans.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.ec2.job import CONNECT_SECONDS, OVERHEAD_SECONDS
from tasks.plan.machines import Machines
from tasks.plan.wanted import Wanted
from tasks.run.options import STAGING_SECONDS
from tasks.scaling.prices import Prices
from tasks.serving.function import FIRST_MEMORY_MB, TIMEOUT_SECONDS

LEAST_SECONDS = 60.0
"""What a training or an endpoint is taken to need at least: EC2 bills a minute at least, AWS's jobs take minutes."""

DEPLOY_SECONDS = 2 * 1800.0
"""The deadlines until an endpoint serves and until its instances answer."""

CHECKED_SECONDS = (900.0, 7200.0)
CHECKED_INSTANCES = 2
"""A checked load test takes 15 minutes to two hours, mostly with up to two instances: an assumption."""

NOT_COUNTED = "S3, disks, data transfer, logs, metrics, taxes, free tier, savings plans"


@dataclass(frozen=True)
class Usd:
    """An amount of USD: the least, the likely (None without an earlier run to go by) and the most."""

    least: float
    most: float
    likely: float | None = None


@dataclass(frozen=True)
class Cost:
    """What one part of the run costs. `usd` is None when a price is unknown, `basis` says what the amounts rest on.

    `usd_per_hour` is None for what is not billed by the hour, or at an unknown price.
    """

    what: str
    usd_per_hour: float | None
    usd: Usd | None
    basis: str
    ends: str


@dataclass(frozen=True)
class Earlier:
    """The billed seconds, of each instance, of earlier trainings like the one that is planned."""

    training: tuple[float, ...] = ()
    ec2: tuple[float, ...] = ()


def costs_of(wanted: Wanted, machines: Iterable[Machines], prices: Prices, earlier: Earlier) -> list[Cost]:
    """Return the costs of a run, one for each kind of machine, and the function's."""
    needed = list(machines)
    made = [_cost(wanted, each, earlier) for each in needed]
    training = [each for each in needed if each.purpose == "training" and wanted.training.search == "sagemaker"]
    made += [_search(wanted, each) for each in training]
    return [*made, *([_function(wanted, prices)] if wanted.load is not None else [])]


def total(costs: Sequence[Cost]) -> Usd | None:
    """Return the sum, or None when a part is unknown; the likely only if that of every part is known."""
    known = [each.usd for each in costs if each.usd is not None]
    if len(known) < len(costs):
        return None
    likely = [each.likely for each in known if each.likely is not None]
    whole = sum(likely) if len(likely) == len(known) else None
    return Usd(sum(each.least for each in known), sum(each.most for each in known), whole)


def _cost(wanted: Wanted, machines: Machines, earlier: Earlier) -> Cost:
    if machines.purpose == "training":
        limit = float(wanted.training.max_runtime_seconds)
        return _training(machines, earlier.training, limit, "the job's limit", "ends with the job")
    if machines.purpose == "staging":
        return _training(machines, (), float(STAGING_SECONDS), "the job's limit", "ends with the job")
    if machines.purpose == "EC2 training":
        assert wanted.ec2 is not None
        limit = wanted.ec2.max_runtime_seconds + CONNECT_SECONDS + OVERHEAD_SECONDS
        return _training(machines, earlier.ec2, limit, "its deadlines", "ends with the training")
    return _endpoint(wanted, machines)


def _training(machines: Machines, billed: Sequence[float], limit: float, bound: str, ends: str) -> Cost:
    least = min(*billed, limit) if billed else min(LEAST_SECONDS, limit)
    likely = statistics.median(billed) if billed else None
    basis = f"{least:,.0f} s to {bound} of {limit:,.0f} s"
    basis += f"; {len(billed)} earlier: {likely:,.0f} s" if likely is not None else "; no earlier run to go by"
    return Cost(
        f"{machines.purpose}, {machines.label}",
        machines.usd_per_hour,
        _usd(machines, least, likely, limit),
        basis,
        ends,
    )


def _search(wanted: Wanted, machines: Machines) -> Cost:
    """Return what SageMaker's tuner costs: the job that embeds, on the training's machines, and one for each trial."""
    trials, limit = wanted.training.trials or 0, float(wanted.training.max_runtime_seconds)
    jobs = 1 + trials / machines.count
    basis = f"{LEAST_SECONDS:,.0f} s to the job's limit of {limit:,.0f} s for each of {trials} trials, and to embed"
    usd = _usd(machines, jobs * LEAST_SECONDS, None, jobs * limit)
    return Cost(f"search, {trials} trials", machines.usd_per_hour, usd, basis, "ends with the trials")


def _endpoint(wanted: Wanted, machines: Machines) -> Cost:
    """Return what the endpoint costs until the command ends; it serves on after that."""
    least, most, instances = _served_seconds(wanted, machines)
    usd = _usd(machines, least, None, most)
    if usd is not None:
        usd = Usd(usd.least, usd.most * instances / machines.count)
    basis = f"{least:,.0f} to {most:,.0f} s until the command ends" + (
        f", up to {instances} instances" if instances > machines.count else ""
    )
    return Cost(f"endpoint, {machines.label}", machines.usd_per_hour, usd, basis, "then it serves until `kennel down`")


def _served_seconds(wanted: Wanted, machines: Machines) -> tuple[float, float, int]:
    """Return how long the endpoint serves while the command runs, at least and at most, and on how many instances."""
    if wanted.load is None:
        return LEAST_SECONDS, DEPLOY_SECONDS, machines.count
    if not wanted.is_checked:
        seconds = wanted.load.seconds
        return LEAST_SECONDS + seconds, DEPLOY_SECONDS + 2 * seconds + LEAST_SECONDS, machines.count
    least, most = CHECKED_SECONDS
    return least, DEPLOY_SECONDS + most, max(machines.count, CHECKED_INSTANCES)


def _function(wanted: Wanted, prices: Prices) -> Cost:
    """Return what the load test's calls of the function cost, of which each takes at most the function's timeout."""
    assert wanted.load is not None
    what, ends = "function, AWS Lambda", "ends with the last call"
    each, seconds = prices.requests_usd_per_million, prices.on_demand_usd_per_gb_second
    calls = _calls(wanted)
    if calls is None or each is None or seconds is None:
        why = "no traffic is stated" if calls is None else "its price is unknown here"
        return Cost(what, None, None, why, ends)
    least = calls.least * each / 1e6
    most = calls.most * (each / 1e6 + calls.seconds * FIRST_MEMORY_MB / 1024 * seconds)
    return Cost(what, None, Usd(least, most), calls.basis, ends)


@dataclass(frozen=True)
class _Calls:
    """How often the function is called, and for how many seconds at most."""

    least: float
    most: float
    seconds: float
    basis: str


def _calls(wanted: Wanted) -> _Calls | None:
    """Return the load test's calls: those that are asked for or, of a checked one, an assumption from its traffic."""
    assert wanted.load is not None
    if not wanted.is_checked:
        count = wanted.load.rate_per_second * wanted.load.seconds
        return _Calls(count, count, TIMEOUT_SECONDS, f"{count:,.0f} calls of up to {TIMEOUT_SECONDS} s")
    traffic = wanted.traffic
    if traffic is None:
        return None
    least, most = CHECKED_SECONDS
    slo = traffic.slo_p95_ms / 1000
    basis = f"{traffic.baseline_rps:g} to {traffic.spike_rps:g} calls a second of up to {slo:g} s"
    return _Calls(traffic.baseline_rps * least, traffic.spike_rps * most, slo, basis)


def _usd(machines: Machines, least: float, likely: float | None, most: float) -> Usd | None:
    """Return the amounts for seconds of each instance; the most is that of the dearest type that may be used."""
    usual, dearest = machines.usd_per_hour, machines.most_usd_per_hour
    if usual is None or dearest is None:
        return None
    return Usd(usual * least / 3600, dearest * most / 3600, None if likely is None else usual * likely / 3600)
