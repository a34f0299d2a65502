"""What is alive of a run costs so much by the hour, by kind."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.account.prices import usd_per_hour
from tasks.report.running_cost import HourlyCost, live_by_kind, total_cost
from tasks.run.handle import RunFolder
from tasks.run.ledger_contents import LedgerRow
from tasks.run.options import MOST_INSTANCES, MOST_WORKERS
from tasks.run.records import EndpointRef, InstanceRef
from tasks.verdicts.check import ScalingVerdicts
from tests.tasks.report.test_report import MODEL
from tests.tasks.scaling.deployments import plan as scaling_plan

REGION = "us-east-1"
ENDPOINT = EndpointRef("e", "arn", "c", "m", "v", "ml.m5.large", 2, "s3://b/m", 1.0)
INSTANCE = InstanceRef(
    "i-1", "", "10.0.0.1", 22, "ubuntu", "c7i.xlarge", False, "key", "key", "2026-11-28T00:00:00+00:00", 0.1785, ""
)


def row(kind: str, name: str, identifier: str | None = None) -> LedgerRow:
    return LedgerRow(kind=kind, name=name, state="created", at="2026-11-28T00:00:00+00:00", identifier=identifier)


def costs(run: RunFolder, *rows: LedgerRow) -> dict[str, HourlyCost]:
    return {each.kind: each.cost for each in live_by_kind(run, REGION, rows)}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "dogs-1")
    run.folder.mkdir()
    return run


def test_an_endpoint_costs_its_instances(run: RunFolder) -> None:
    run.keep(ENDPOINT)
    rate = usd_per_hour("ml.m5.large", REGION, "Hosting")
    assert rate is not None
    assert costs(run, row("endpoint", "e"))["endpoint"] == HourlyCost(2 * rate, 2 * rate, "2 × ml.m5.large")


def test_what_is_not_billed_by_the_hour_costs_nothing_and_stands_last(run: RunFolder) -> None:
    run.keep(ENDPOINT)
    found = costs(run, row("role", "r"), row("bucket", "b"), row("role", "s"), row("endpoint", "e"))
    assert list(found) == ["endpoint", "bucket", "role"]
    assert (found["bucket"], found["role"]) == (HourlyCost(0.0, 0.0, "by use"), HourlyCost(0.0, 0.0, "free"))


def test_instances_are_found_by_their_id_and_cost_what_their_records_say(run: RunFolder) -> None:
    run.keep(INSTANCE)
    assert costs(run, row("instance", "kennel-1", "i-1"))["instance"].least == 0.1785
    unknown = costs(run, row("instance", "kennel-1", "i-1"), row("instance", "kennel-2", "i-2"))["instance"]
    assert (unknown.least, unknown.most) == (None, None)


def test_a_price_that_nobody_knows_stands_first_and_is_no_zero(run: RunFolder) -> None:
    run.keep(ENDPOINT)
    first, _ = live_by_kind(run, "eu-north-1", [row("role", "r"), row("endpoint", "e")])
    assert (first.kind, first.cost.least, first.cost.most) == ("endpoint", None, None)
    assert costs(RunFolder(run.folder / "x"), row("endpoint", "e"))["endpoint"].basis == "their records are not known"
    assert costs(run, row("endpoint", "e"), row("endpoint", "f"))["endpoint"].most is None


def test_a_training_that_runs_is_at_an_unknown_price_and_one_that_has_ended_is_free(run: RunFolder) -> None:
    job = row("training-job", MODEL.job_name)
    assert costs(run, job)["training-job"] == HourlyCost(None, None, "billed by the second while it runs")
    total = total_cost(live_by_kind(run, REGION, [job]))
    assert (total.text, total.basis) == ("0", "without training-job at an unknown price")
    run.keep(MODEL)
    assert costs(run, job)["training-job"].most == 0.0
    assert costs(run, job, row("training-job", "one-that-began-later"))["training-job"].most is None


def test_a_plan_that_is_not_applied_any_more_does_not_scale_the_endpoint(run: RunFolder) -> None:
    run.keep(ENDPOINT)
    run.keep(ScalingVerdicts(scaling_plan(), "function", (), {}, 50.0, {}, "a machine"))
    plan = scaling_plan()
    least, most = plan.count("min_instances"), plan.count("max_instances")
    scaled = costs(run, row("endpoint", "e"), row("scalable-target", "t"))["endpoint"]
    assert scaled.basis == f"{least} to {most} × ml.m5.large"
    assert costs(run, row("endpoint", "e"))["endpoint"].basis == "2 × ml.m5.large"


def test_the_last_worker_of_a_load_test_has_its_price(run: RunFolder) -> None:
    run.keep(replace(INSTANCE, number=MOST_INSTANCES + MOST_WORKERS))
    assert costs(run, row("instance", "kennel-r-ec2-120-1", "i-1"))["instance"].most == 0.1785
