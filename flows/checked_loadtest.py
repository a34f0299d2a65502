"""The checked mode of the flow `loadtest`: measure, derive a scaling plan, apply it, run its profile, judge it.

The measurements are written to `runs/<id>/ladder.json`, the plan and its verdicts to `runs/<id>/scaling.json`, and a
picture beside Locust's report in `runs/<id>/checked/<way>/loadtest/`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from flows.step import step
from tasks.load.generator import GeneratorOptions
from tasks.load.measurements import LadderRecord, measure_deployment
from tasks.load.options import LoadOptions, Through
from tasks.load.report import STAGE
from tasks.load.rungs import LadderRules
from tasks.run.errors import SettingsRefused
from tasks.run.handle import Run
from tasks.run.records import EndpointRef, FunctionRef
from tasks.run.settings import Target
from tasks.run.waiting import say
from tasks.scaling.plan import ScalingPlan, ScalingRules, list_prices, plan_scaling
from tasks.scaling.traffic import SAMPLE_TRAFFIC, Traffic
from tasks.serving.concurrency import account_limits
from tasks.verdicts.check import (
    PlanCheck,
    ScalingVerdicts,
    apply_plan,
    check_plan,
    require_feasible,
    with_overrides,
)

SAMPLE_SAFETY = 0.25
SAMPLE_LADDER = LadderRules(first_rps=60.0, precision=0.3)
"""The demo's instances serve more than 60 requests a second; from 8 on, and more precise, the ladder takes twice as
long."""


@dataclass(frozen=True)
class CheckedTest:
    """A checked load test: its options, and the traffic statement and rules that follow from them."""

    load: LoadOptions
    traffic: Traffic
    rules: ScalingRules
    ladder: LadderRules
    generator: GeneratorOptions


def checked_test(target: Target, load: LoadOptions, generator: GeneratorOptions) -> CheckedTest:
    """Return the test that the options describe.

    Without a traffic statement, the demo's statement is used, at the pace that fits the machine of the embedded AWS.

    Raises:
        SettingsRefused: the target is real AWS, and there is no traffic statement.
    """
    if load.traffic is None and not target.has_sample:
        why = "on real AWS kennel assumes no traffic: state what the deployment has to serve"
        raise SettingsRefused(STAGE, "no traffic statement", why, "kennel loadtest RUN --traffic traffic.json")
    is_sample, safety, first_rps = load.traffic is None, load.safety_factor, load.ladder_first_rps
    if safety is None and is_sample:
        safety = SAMPLE_SAFETY
    ladder = replace(SAMPLE_LADDER, first_rps=SAMPLE_LADDER.first_rps * load.pace) if is_sample else LadderRules()
    return CheckedTest(
        load=load,
        traffic=load.traffic or SAMPLE_TRAFFIC.at_pace(load.pace),
        rules=ScalingRules() if safety is None else ScalingRules(safety_factor=safety),
        ladder=ladder if first_rps is None else replace(ladder, first_rps=first_rps),
        generator=generator,
    )


async def check(run: Run, test: CheckedTest, images: list[Path]) -> ScalingVerdicts:
    """Measure the deployment, plan its scaling, apply the plan, run its profile and judge it.

    An earlier measurement of the run is used again, unless the options ask for a new one.

    Raises:
        SettingsRefused: the run has no endpoint or function, or a number of the plan cannot be set.
        StageFailed: no maximum rate was found, or a run of the generator left no result.
        WaitTimedOut: the generator, an instance or an environment was not ready in time.
        AwsFailed: AWS refused.
    """
    endpoint, function = run.need(EndpointRef), run.need(FunctionRef)
    found = None if test.load.remeasures else run.find(LadderRecord)
    if found is None:
        found = await climb_ladder(run, test, endpoint, function, images)
    plan = await derive_plan(run, test, found, function)
    function = await set_plan(run, plan, endpoint, function, images)
    trial = PlanCheck(run, plan, endpoint, function, images, test.generator, found.bounds)
    return await run_and_judge(trial, test.load.through)


@step("ladder")
def climb_ladder(
    run: Run, test: CheckedTest, endpoint: EndpointRef, function: FunctionRef, images: list[Path]
) -> LadderRecord:
    """Measure the maximum rate of one instance, its start-up time, and the function.

    Raises:
        StageFailed: no maximum rate was found.
        WaitTimedOut: the generator or an instance was not ready in time.
        AwsFailed: AWS refused.
    """
    return measure_deployment(
        run,
        endpoint=endpoint,
        function=function,
        images=images,
        traffic=test.traffic,
        rules=test.ladder,
        processes=test.load.processes,
        seed=test.load.seed,
    )


@step("scaling plan")
def derive_plan(run: Run, test: CheckedTest, found: LadderRecord, function: FunctionRef) -> ScalingPlan:
    """Derive every scaling and concurrency number from the traffic statement and the measurements.

    Raises:
        SettingsRefused: an override names no number of the plan, or is out of bounds.
        StageFailed: the plan is not feasible, and the options do not force it.
        AwsFailed: Lambda refused to return the account's limits.
    """
    limits = account_limits(run.aws, function)
    if found.ceiling is not None and found.ceiling.binds:
        limits = replace(limits, machine_rps=found.ceiling.rps)
    measured = found.measured
    plan = plan_scaling(
        test.traffic, measured, list_prices(measured.instance_type, run.aws.region), rules=test.rules, limits=limits
    )
    for warning in plan.warnings:
        say(f"plan: {warning}")
    if not test.load.forces:
        require_feasible(plan)
    return with_overrides(plan, test.load.overrides)


@step("apply plan")
def set_plan(
    run: Run, plan: ScalingPlan, endpoint: EndpointRef, function: FunctionRef, images: list[Path]
) -> FunctionRef:
    """Set the plan's numbers on endpoint and function, and keep the function's record, whose version may have changed.

    Raises:
        WaitTimedOut: the endpoint or the function did not settle in time.
        AwsFailed: AWS refused.
    """
    changed = apply_plan(run, plan, endpoint=endpoint, function=function, photo=images[0].read_bytes())
    run.keep(changed)
    return changed


@step("profile and verdicts")
def run_and_judge(trial: PlanCheck, through: Through) -> ScalingVerdicts:
    """Run the profile and compare every prediction with what was observed.

    Raises:
        StageFailed: a run of the generator left no result.
        WaitTimedOut: the generator was not ready in time.
        AwsFailed: AWS refused.
    """
    return check_plan(trial, through=through)
