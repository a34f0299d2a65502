"""The estimate: least, likely and most of each part; a month of serving; and the worst case."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.load.options import PipelineLoadOptions
from tasks.plan.consent import confirm, require_a_way_to_agree, require_within_budget
from tasks.plan.plan import RunPlan, make_plan, plan_json
from tasks.plan.serving_costs import NO_LIMIT
from tasks.plan.text import amount, plan_lines
from tasks.plan.wanted import Limits, Wanted, ec2_training
from tasks.run.errors import SpendingRefused
from tasks.run.handle import RunFolder
from tasks.run.options import STAGING_SECONDS, DeployOptions, StagingOptions, TrainingOptions
from tasks.run.records import TrainedModel
from tasks.run.settings import EMBEDDED_AWS, Settings
from tasks.scaling.traffic import SAMPLE_TRAFFIC
from tests.tasks.run.test_records import TRAINED

STEADY = PipelineLoadOptions()
CHECKED = PipelineLoadOptions(mode="checked")


UNLIMITED = Limits()


def wanted(
    load: PipelineLoadOptions | None = STEADY, *, training: TrainingOptions = TrainingOptions(), ec2: int = 0
) -> Wanted:
    return Wanted.of(EMBEDDED_AWS, "dogs", training, DeployOptions(), ec2_training(training, ec2), load)


def plan(asked: Wanted, runs: Path, limits: Limits = UNLIMITED, region: str = "us-east-1") -> RunPlan:
    return make_plan(asked, limits, None, Settings(runs=runs, region=region))


def test_the_most_is_what_the_limits_of_each_part_allow(tmp_path: Path) -> None:
    training = TrainingOptions(instances=2, max_runtime_seconds=1800)
    costs = {each.what: each for each in plan(wanted(training=training, ec2=1), tmp_path).costs}
    job = costs["training, 2 × ml.m5.xlarge"].usd
    assert job is not None
    assert [job.least, job.most] == pytest.approx([2 * 0.23 * 60 / 3600, 2 * 0.23 / 2])
    remote = costs["EC2 training, 1 × c7i.xlarge"].usd
    assert remote is not None, "of the types that may be used the dearest bounds it"
    assert remote.most == pytest.approx(0.2016 * (3600 + 300 + 1800) / 3600)


def test_earlier_trainings_on_the_same_machines_make_the_estimate_likely(tmp_path: Path) -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:training-job/j"
    model = replace(TRAINED, job_arn=arn, instance_type="ml.m5.xlarge", instance_count=2, spot=False)
    for name, seconds in (("a", 100.0), ("b", 140.0), ("c", 400.0)):
        RunFolder(tmp_path / name).keep(replace(model, billable_seconds=seconds))
        (tmp_path / name / "ledger.jsonl").write_text("{}\n")
    found = plan(wanted(training=TrainingOptions(instances=2)), tmp_path).costs[0].usd
    assert found is not None
    assert [found.least, found.likely] == pytest.approx([0.46 * 100 / 3600, 0.46 * 140 / 3600])
    assert plan(wanted(), tmp_path).costs[0].usd.likely is None  # type: ignore[union-attr]
    assert isinstance(model, TrainedModel)


def test_spot_is_bounded_by_the_price_on_demand_and_says_so(tmp_path: Path) -> None:
    training = TrainingOptions(spot=True)
    made = plan(wanted(training=training), tmp_path)
    assert made.costs[0].what == "training, 1 × ml.m5.xlarge spot"
    assert "on demand; spot costs less" in made.machines[0].chosen.price.source


def test_where_a_price_is_unknown_so_is_the_total_and_nothing_is_0(tmp_path: Path) -> None:
    made = plan(wanted(), tmp_path, Limits(ttl_hours=1), region="eu-west-1")
    assert made.usd is None
    assert len(made.unknown) == 3
    assert made.month.usd is None and made.month.text == "unknown: the price of ml.m5.large is unknown"
    assert made.worst_case.text == "unknown until the time to live of 1 h: a price is unknown"
    assert "unknown" in plan_json(made)["machines"][0]["candidates"][0]["source"]
    shown = " ".join("\n".join(plan_lines(made)).split())
    assert " 0.0000" not in shown and " 0.00 " not in shown
    assert "times as much" not in shown and "% more" not in shown and "price in eu-west-1 is not known" in shown


def test_a_month_is_that_of_the_instances_asked_for_unless_the_load_test_scales_them(tmp_path: Path) -> None:
    month = plan(wanted(), tmp_path).month
    assert month.usd is not None and month.usd.most == pytest.approx(730 * 0.115)
    checked = plan(wanted(CHECKED), tmp_path)
    assert checked.month.usd is None
    assert checked.month.text.startswith("83.95 USD for each ml.m5.large that always runs; how many")
    assert [step.resource.kind for step in checked.steps[-2:]] == ["scalable-target", "provisioned-concurrency"]


def test_a_checked_load_test_is_estimated_from_its_traffic(tmp_path: Path) -> None:
    calls = plan(wanted(CHECKED), tmp_path).costs[-1]
    assert calls.usd is not None
    assert calls.basis.startswith(f"{SAMPLE_TRAFFIC.baseline_rps:g} to {SAMPLE_TRAFFIC.spike_rps:g} calls a second")
    untold = plan(replace(wanted(CHECKED), traffic=None), tmp_path).costs[-1]
    assert (untold.usd, untold.basis) == (None, "no traffic is stated")


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(), NO_LIMIT),
        (Limits(budget_usd=5), f"a budget ends the command, not the endpoint; {NO_LIMIT}"),
        (Limits(ttl_hours=4), "1 × ml.m5.large for 4 h, if `kennel down --expired` runs then"),
    ],
)
def test_the_worst_case_has_a_limit_only_with_a_time_to_live(tmp_path: Path, limits: Limits, text: str) -> None:
    made = plan(wanted(), tmp_path, limits)
    assert made.worst_case.text == text
    assert (made.worst_case.usd is None) == (limits.ttl_hours is None)


def test_no_line_is_longer_than_80_columns_but_a_name(tmp_path: Path) -> None:
    asked = replace(wanted(CHECKED, ec2=3), run_id="a-run-id-of-24-letters-x")
    long = [line for line in plan_lines(plan(asked, tmp_path)) if len(line) > 80]
    assert long == [each for each in long if len(each.split()) == 1]


@pytest.mark.parametrize(
    ("usd", "text"), [(None, "unknown"), (1234.5, "1,234.50"), (0.23, "0.2300"), (0.00002, "0.0000200")]
)
def test_an_amount_is_shown_so_that_it_is_not_0(usd: float | None, text: str) -> None:
    assert amount(usd) == text


def test_a_budget_below_the_most_is_refused_with_what_would_be_enough(tmp_path: Path) -> None:
    made = plan(wanted(), tmp_path, Limits(budget_usd=0.36))
    with pytest.raises(SpendingRefused, match=r"may cost 0\.3601 USD") as refused:
        require_within_budget(made)
    assert refused.value.next_command.startswith("--budget 0.37 or more")
    require_within_budget(replace(made, limits=Limits(budget_usd=0.37)))
    require_within_budget(replace(made, limits=Limits()))


def test_a_budget_with_an_unknown_price_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpendingRefused, match="it is not known what run dogs costs"):
        require_within_budget(plan(wanted(), tmp_path, Limits(budget_usd=1e6), region="eu-west-1"))


def test_only_yes_is_consent(tmp_path: Path) -> None:
    made = plan(wanted(), tmp_path)
    confirm(made, yes=False, ask=lambda _: " YES ")
    for other in ("", "y", "no"):
        with pytest.raises(SpendingRefused, match=r"to 0\.3601 USD, and its endpoint serves") as refused:
            confirm(made, yes=False, ask=lambda _, answer=other: answer)  # type: ignore[misc]
        assert refused.value.why == "the answer was not yes; nothing was made"
    confirm(made, yes=True, ask=lambda _: pytest.fail("it asked"))


def test_without_a_terminal_only_yes_lets_a_run_begin() -> None:
    require_a_way_to_agree(yes=True, is_terminal=False)
    require_a_way_to_agree(yes=False, is_terminal=True)
    with pytest.raises(SpendingRefused, match="--yes was not given; nothing was made"):
        require_a_way_to_agree(yes=False, is_terminal=False)


def test_a_job_that_stages_is_planned_in_the_order_in_which_it_is_made_and_priced(tmp_path: Path) -> None:
    remote = StagingOptions(stage_on="sagemaker", stage_instances=2, stage_instance_type="ml.m5.large")
    made = plan(replace(wanted(), staging=remote), tmp_path)
    stage = [each.resource for each in made.steps if each.resource.stage == "stage_data"]
    assert [each.kind for each in stage] == ["bucket", "role", "s3-prefix", "processing-job", "s3-prefix"]
    assert [each.kind for each in (step.resource for step in made.steps)][:5] == [each.kind for each in stage]
    assert stage[3].name == "kennel-dogs-stage-…"
    staging = next(each for each in made.costs if each.what == "staging, 2 × ml.m5.large")
    assert staging.usd is not None and staging.usd.most == pytest.approx(2 * 0.115 * STAGING_SECONDS / 3600)
    assert not [each for each in plan(wanted(), tmp_path).costs if each.what.startswith("staging")]
