"""Tests the decisions of the checked load test's flow: a plan that cannot be kept is not applied unless forced."""

from __future__ import annotations

import asyncio

import pytest
from prefect import Task

from flows.checked_loadtest import CheckedTest, checked_test, derive_plan
from tasks.load.disturbance import Bounds
from tasks.load.generator import GeneratorOptions
from tasks.load.measurements import LadderRecord
from tasks.load.options import LoadOptions
from tasks.load.rungs import Ladder
from tasks.run.aws import Aws
from tasks.run.errors import StageFailed
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


def test_a_plan_that_cannot_keep_the_traffics_limits_is_not_applied(run: Run, function: FunctionRef) -> None:
    with pytest.raises(StageFailed, match="not applied") as caught:
        derive(run, asked(forces=False, slo_p95_ms=30.0), function)
    assert "no number of instances keeps the SLO" in caught.value.why
    assert "--force" in caught.value.next_command


def test_it_is_applied_when_it_is_forced_and_one_that_can_always(run: Run, function: FunctionRef) -> None:
    assert not derive(run, asked(forces=True, slo_p95_ms=30.0), function).is_feasible
    assert derive(run, asked(forces=False, slo_p95_ms=500.0), function).is_feasible
