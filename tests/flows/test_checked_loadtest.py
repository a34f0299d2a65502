"""Tests the decisions of the checked load test's flow: a plan that cannot be kept is not applied unless forced."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from prefect import Task
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed

from flows.checked_loadtest import CheckedTest, checked_test, derive_plan
from flows.loadtest import end_workers_of, loadtest
from tasks.load.disturbance import Bounds
from tasks.load.generator import GeneratorOptions
from tasks.load.measurements import LadderRecord
from tasks.load.options import LoadOptions, WorkerOptions, require_steady
from tasks.load.rungs import Ladder
from tasks.run.aws import Aws
from tasks.run.errors import KennelError, SettingsRefused, StageFailed
from tasks.run.handle import Run
from tasks.run.records import FunctionRef
from tasks.run.settings import EMBEDDED_AWS, Settings
from tasks.scaling.choice import ScalingPlan
from tests.conftest import RunningLocalAws
from tests.localaws.functions.functions_kit import Functions
from tests.tasks.scaling.deployments import measured, traffic

RECORD = LadderRecord(Ladder("e", 500.0, 0.01, (), "here"), measured(), "here", 1.0, Bounds({}, 0.0))


@pytest.fixture(scope="module")
def run(localaws: RunningLocalAws, tmp_path_factory: pytest.TempPathFactory) -> Run:
    runs = tmp_path_factory.mktemp("checked-plan")
    return Run(Aws(Settings(endpoint_url=localaws.url, runs=runs, home=runs / "home")), "checked-plan")


@pytest.fixture(scope="module")
def function(localaws: RunningLocalAws, tmp_path_factory: pytest.TempPathFactory) -> FunctionRef:
    name = Functions.of(localaws).make("def handler(event, context):\n    return 1\n")
    return FunctionRef(name, "arn", "1", "live", "a", "r", "ra", "s", "e")


def asked(*, forces: bool, slo_p95_ms: float) -> CheckedTest:
    load = LoadOptions(mode="checked", traffic=traffic(slo_p95_ms=slo_p95_ms), forces=forces)
    return checked_test(EMBEDDED_AWS, load, GeneratorOptions())


def derive(run: Run, test: CheckedTest, function: FunctionRef) -> ScalingPlan:
    assert isinstance(derive_plan, Task)
    made: ScalingPlan = asyncio.run(derive_plan.fn(run, test, RECORD, function))
    return made


def test_workers_send_at_a_set_rate_only() -> None:
    require_steady(LoadOptions(), WorkerOptions(workers=2))
    require_steady(LoadOptions(mode="checked"), WorkerOptions())
    with pytest.raises(SettingsRefused, match="workers=2 in mode checked"):
        require_steady(LoadOptions(mode="checked"), WorkerOptions(workers=2))


def test_the_end_of_a_flow_run_without_workers_asks_no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for given in ({}, {"workers": {"workers": 0}}):
        flow_run = FlowRun(flow_id=uuid4(), parameters={"run_id": "none", **given})
        end_workers_of(loadtest, flow_run, Crashed())
    with pytest.raises(KennelError):
        end_workers_of(
            loadtest, FlowRun(flow_id=uuid4(), parameters={"run_id": "none", "workers": {"workers": 1}}), Crashed()
        )


def test_a_plan_that_cannot_keep_the_traffics_limits_is_not_applied(run: Run, function: FunctionRef) -> None:
    with pytest.raises(StageFailed, match="not applied") as caught:
        derive(run, asked(forces=False, slo_p95_ms=30.0), function)
    assert "no number of instances keeps the SLO" in caught.value.why
    assert "--force" in caught.value.next_command


def test_it_is_applied_when_it_is_forced_and_one_that_can_always(run: Run, function: FunctionRef) -> None:
    assert not derive(run, asked(forces=True, slo_p95_ms=30.0), function).is_feasible
    assert derive(run, asked(forces=False, slo_p95_ms=500.0), function).is_feasible
