"""What the workers of a load test cost, and what a high rate would need."""

import pytest

from tasks.ec2.prices import TABLE
from tasks.load.options import LoadOptions, WorkerOptions
from tasks.load.workers.estimate import capacity_text, estimate, require_within_budget, worker_candidates
from tasks.run.errors import SettingsRefused, SpendingRefused

XLARGE = TABLE["c7i.xlarge"]
LOAD = LoadOptions(seconds=30)


def test_the_cost_is_bounded_by_the_deadlines_and_at_the_dearest_type_that_may_be_used() -> None:
    costs = estimate(LOAD, WorkerOptions(workers=2), worker_candidates("c7i.xlarge"))
    assert XLARGE.usd_per_hour is not None and costs.most_usd is not None
    assert (costs.least_seconds, costs.most_seconds) == (120, 300 + 900 + 180 + 30)
    assert costs.most_usd == pytest.approx(2 * XLARGE.usd_per_hour * costs.most_seconds / 3600)
    several = worker_candidates(None)
    dearest = max(each.usd_per_hour or 0 for each in several.types)
    assert estimate(LOAD, WorkerOptions(workers=1), several).usd_per_hour == dearest
    assert costs.text().startswith("2 × c7i.xlarge on demand, 0.")


def test_workers_above_the_budget_or_at_an_unknown_price_do_not_begin() -> None:
    known = estimate(LOAD, WorkerOptions(workers=2), worker_candidates("c7i.xlarge"))
    unknown = estimate(LOAD, WorkerOptions(workers=2), worker_candidates("x9z.metal"))
    assert known.most_usd is not None
    require_within_budget(known, None)
    require_within_budget(known, 1.0)
    with pytest.raises(SpendingRefused, match=r"the budget is 0.01 USD") as above:
        require_within_budget(known, 0.01)
    assert above.value.exit_code == 13
    require_within_budget(known, 5.0, spent_usd=1.0)
    with pytest.raises(SpendingRefused, match=r"the budget is 5 USD, of which the run has spent 4.90 USD") as spent:
        require_within_budget(known, 5.0, spent_usd=4.9)
    assert spent.value.next_command.startswith(f"--budget {known.most_usd + 4.9 + 0.005:.2f}")
    with pytest.raises(SpendingRefused, match=r"it is not known what 2 × x9z.metal on demand, at a price that is not"):
        require_within_budget(unknown, 1.0)
    require_within_budget(unknown, None)


def test_a_type_of_sagemaker_is_refused() -> None:
    with pytest.raises(SettingsRefused, match=r"ml.m5.large"):
        worker_candidates("ml.m5.large")


def test_what_100_000_requests_a_second_need_follows_from_the_measured_rate_a_core() -> None:
    text = capacity_text(2500.0, worker_candidates("c7i.xlarge"), busy=0.6)
    hour = 13 * (XLARGE.usd_per_hour or 0)
    assert text == (
        "100,000 requests/s would need 50 processes, 80% busy (2,500 requests a core and second, measured at 60% of a "
        f"core): 13 × c7i.xlarge of 4 vCPUs, {hour:.2f} USD an hour"
    )
    idle = capacity_text(2500.0, worker_candidates("x9z.metal"), busy=0.03)
    assert idle.startswith("100,000 requests/s would need at most 50 processors (2,500 requests a core")
