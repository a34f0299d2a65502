"""What a run would do about what exists, as the account has it: created, adopted, refused. Nothing is changed."""

from pathlib import Path

import pytest

from tasks.account.bucket import ensure_bucket
from tasks.account.roles import ensure_log_group
from tasks.load.options import PipelineLoadOptions
from tasks.plan.plan import RunPlan, make_plan
from tasks.plan.text import plan_lines
from tasks.plan.wanted import Limits, Wanted
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.options import DeployOptions, TrainingOptions
from tasks.run.settings import EMBEDDED_AWS, Settings
from tasks.serving.endpoint_plan import endpoint_log_group
from tests.counting_proxy import Calls


@pytest.fixture
def aws(calls: Calls, tmp_path: Path) -> Aws:
    return Aws(Settings(endpoint_url=calls.url, home=tmp_path / "home", runs=tmp_path / "runs"))


def plan(aws: Aws, run_id: str) -> RunPlan:
    asked = Wanted.of(EMBEDDED_AWS, run_id, TrainingOptions(), DeployOptions(), None, PipelineLoadOptions())
    return make_plan(asked, Limits(), aws, aws.settings)


def actions(made: RunPlan) -> dict[str, str]:
    return {step.resource.name: step.action for step in made.steps if step.action != "create"}


def test_what_the_run_has_is_adopted_and_what_is_somebody_elses_is_refused(aws: Aws, calls: Calls) -> None:
    run = Run(aws, "plan-1")
    ensure_bucket(run)
    ensure_log_group(run, endpoint_log_group("plan-1"))
    aws.client("logs").create_log_group(logGroupName="/aws/lambda/kennel-plan-1-classify", tags={"owner": "them"})
    calls.seen.clear()
    made = plan(aws, "plan-1")
    assert actions(made) == {
        aws.bucket: "adopt",
        "/aws/sagemaker/Endpoints/kennel-plan-1-endpoint": "adopt",
        "/aws/lambda/kennel-plan-1-classify": "refuse",
    }
    assert calls.mutating() == []
    assert "14 to create, 2 to adopt, 1 to refuse; nothing was created or changed" in plan_lines(made)
    notes = {step.resource.name: step.note for step in made.steps}
    assert notes["/aws/lambda/kennel-plan-1-classify"] == "it exists and does not carry the run's tags"
    assert notes[f"s3://{aws.bucket}/datasets/…/"] == "adopted, if the same is there already"


def test_the_prices_are_those_of_the_list_that_answers(aws: Aws) -> None:
    made = plan(aws, "plan-2")
    assert all("the embedded AWS's own table, not AWS's list" in source for source in made.prices)
    assert made.is_billed is False
