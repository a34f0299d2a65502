"""The checked mode of the flow `loadtest`: ladder → plan → apply → profile → verdicts. Order and decisions only.

What is measured is kept in `runs/<id>/ladder.json`, plan and verdicts in `runs/<id>/scaling.json`, the picture beside
Locust's report in `runs/<id>/checked/<way>/loadtest/`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.load.generator import LoadOptions
from tasks.load.measurements import STAGE as LADDER
from tasks.load.measurements import LadderRecord, measure
from tasks.load.report import STAGE
from tasks.load.rungs import LadderRules
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused
from tasks.run.ledger import Ledger
from tasks.run.records import EndpointRef, FunctionRef, load_record, save_record
from tasks.run.waiting import say
from tasks.scaling.plan import ScalingPlan, ScalingRules, list_prices, plan_scaling
from tasks.scaling.traffic import SAMPLE_TRAFFIC, Traffic
from tasks.serving.concurrency import account_limits
from tasks.verdicts.check import ScalingVerdicts, Through, Trial, apply_plan, check_plan, with_overrides

Ref = TypeVar("Ref", EndpointRef, FunctionRef)
SAMPLE_SAFETY = 0.25
SAMPLE_LADDER = LadderRules(first_rps=60.0, precision=0.3)
"""The demo's instances carry more than that: from 8 on, and to a finer end, its ladder would take twice as long."""


@dataclass(frozen=True)
class CheckedTest:
    """What is to be checked: the traffic statement, the rules, numbers set by hand, and what is sent.

    `remeasures` False plans with what an earlier ladder of this run found.
    """

    traffic: Traffic
    rules: ScalingRules
    ladder: LadderRules
    through: Through
    options: LoadOptions
    overrides: Mapping[str, float] = field(default_factory=dict)
    remeasures: bool = True


def checked_test(
    target: str,
    *,
    traffic: Mapping[str, float] | None,
    safety_factor: float | None,
    first_rps: float | None,
    through: Through,
    options: LoadOptions,
    overrides: Mapping[str, float],
    remeasures: bool,
    pace: float = 1.0,
) -> CheckedTest:
    """Return the test that a flow's parameters describe.

    Without a traffic statement it is the demo's, at the pace that fits the machine of the embedded AWS.

    Raises:
        SettingsRefused: a number is out of bounds, or real AWS is to be tested without a statement.
    """
    if traffic is None and target != "local":
        why = "what a deployment has to carry is for you to say: on AWS nothing is assumed"
        raise SettingsRefused(STAGE, "no traffic statement", why, "kennel loadtest RUN --traffic traffic.json")
    is_sample = traffic is None
    safety = safety_factor if safety_factor is not None else SAMPLE_SAFETY if is_sample else None
    ladder = replace(SAMPLE_LADDER, first_rps=SAMPLE_LADDER.first_rps * pace) if is_sample else LadderRules()
    return CheckedTest(
        traffic=SAMPLE_TRAFFIC.at_pace(pace) if traffic is None else Traffic.from_mapping(traffic),
        rules=ScalingRules() if safety is None else ScalingRules(safety_factor=safety),
        ladder=ladder if first_rps is None else replace(ladder, first_rps=first_rps),
        through=through,
        options=options,
        overrides=overrides,
        remeasures=remeasures,
    )


async def check(aws: Aws, run_dir: Path, test: CheckedTest, images: list[Path]) -> ScalingVerdicts:
    """Measure, plan, apply, run the profile and judge it.

    Raises:
        SettingsRefused: the run has no endpoint or function, or a number cannot be set.
        StageFailed: no MAX_RPS was found, or a run left no result.
        WaitTimedOut, AwsFailed: as the tasks say.
    """
    endpoint, function = _deployed(run_dir, "endpoint", EndpointRef), _deployed(run_dir, "function", FunctionRef)
    found = None if test.remeasures else load_record(run_dir, LADDER, LadderRecord)
    if found is None:
        found = await climb_ladder(aws, run_dir, test, endpoint, function, images)
    plan = await derive_plan(aws, test, found, function)
    function = await set_plan(aws, run_dir, plan, endpoint, function)
    trial = Trial(aws, run_dir, plan, endpoint, function, images, test.options, found.bounds)
    return await run_and_judge(trial, test.through)


@task(name="ladder", cache_policy=NO_CACHE)
async def climb_ladder(
    aws: Aws, run_dir: Path, test: CheckedTest, endpoint: EndpointRef, function: FunctionRef, images: list[Path]
) -> LadderRecord:
    """Measure one instance, its start-up and the function."""
    return await asyncio.to_thread(
        measure,
        aws,
        run_dir,
        endpoint=endpoint,
        function=function,
        images=images,
        traffic=test.traffic,
        rules=test.ladder,
        processes=test.options.processes,
        seed=test.options.seed,
    )


@task(name="scaling plan", cache_policy=NO_CACHE)
async def derive_plan(aws: Aws, test: CheckedTest, found: LadderRecord, function: FunctionRef) -> ScalingPlan:
    """Derive every scaling and concurrency number from the traffic statement and what was measured."""
    limits = await asyncio.to_thread(account_limits, aws, function)
    if found.ceiling is not None and found.ceiling.binds:
        limits = replace(limits, machine_rps=found.ceiling.rps)
    measured = found.measured
    plan = plan_scaling(test.traffic, measured, list_prices(measured.instance_type), rules=test.rules, limits=limits)
    for warning in plan.warnings:
        say(f"plan: {warning}")
    return with_overrides(plan, test.overrides)


@task(name="apply plan", cache_policy=NO_CACHE)
async def set_plan(
    aws: Aws, run_dir: Path, plan: ScalingPlan, endpoint: EndpointRef, function: FunctionRef
) -> FunctionRef:
    """Set the plan's numbers on endpoint and function, and keep the function's record when its version changed."""

    def apply() -> FunctionRef:
        ledger = Ledger.open(aws, run_dir.name)
        return apply_plan(aws, ledger, plan, run_id=run_dir.name, endpoint=endpoint, function=function)

    changed = await asyncio.to_thread(apply)
    save_record(run_dir, "function", changed)
    return changed


@task(name="profile and verdicts", cache_policy=NO_CACHE)
async def run_and_judge(trial: Trial, through: Through) -> ScalingVerdicts:
    """Run the profile and hold every prediction against what was seen."""
    return await asyncio.to_thread(check_plan, trial, through=through)


def _deployed(run_dir: Path, name: str, kind: type[Ref]) -> Ref:
    found = load_record(run_dir, name, kind)
    if found is None:
        raise SettingsRefused(STAGE, f"run {run_dir.name}", f"it has no {name} yet", "kennel run, or the deploy flow")
    return found
