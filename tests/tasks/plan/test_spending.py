"""What a run has cost so far, by billed seconds and rates, and the end of a run that costs more than its budget."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tasks.plan.spending import require_unspent, spent_by
from tasks.run.errors import SpendingRefused
from tasks.run.handle import Run
from tasks.run.records import EndpointRef
from tests.scripted import Scripted
from tests.tasks.run.test_records import TRAINED

CREATED = datetime.fromisoformat("2026-11-28T10:00:00+00:00")
ENDPOINT = EndpointRef(
    *("e", "arn", "c", "m", "primary", "ml.m5.large"), 2, "s3://b/m", 1.0, created=CREATED.isoformat()
)
MODEL = replace(TRAINED, instance_type="ml.m5.xlarge", instance_count=2, billable_seconds=1800.0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Scripted().run(tmp_path)
    made.keep(MODEL)
    made.keep(ENDPOINT)
    return made


def test_each_part_costs_its_billed_seconds_at_its_rate(run: Run) -> None:
    parts = {each.what: each.usd for each in spent_by(run, CREATED + timedelta(hours=3))}
    assert parts["training on 2 × ml.m5.xlarge"] == pytest.approx(2 * 0.23 * 0.5)
    assert parts["endpoint on 2 × ml.m5.large"] == pytest.approx(2 * 0.115 * 3)


def test_a_run_above_its_budget_ends_and_says_what_to_do(run: Run) -> None:
    with pytest.raises(SpendingRefused, match=r"and the budget is 0\.1000 USD") as refused:
        require_unspent(run, 0.1)
    assert refused.value.exit_code == 13
    assert "kennel down" in refused.value.next_command and "--budget" in refused.value.next_command
    require_unspent(run, 1e6)
    require_unspent(run, None)


def test_an_unknown_price_is_named_and_not_counted(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.keep(replace(MODEL, instance_type="ml.unheard.of"))
    require_unspent(run, 1e6)
    assert "the price of training on 2 × ml.unheard.of is unknown" in caplog.text
