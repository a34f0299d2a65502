"""Tests the whole check on a separate localaws: measure, plan, apply, run, judge. A bad plan is caught."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as Picture

from tasks.load.disturbance import EXTERNAL_SIGNALS, Bounds
from tasks.load.generator import LoadStage
from tasks.load.machine_watch import MachineWatch, watch_at_rest
from tasks.load.measurements import LadderRecord, measure_deployment
from tasks.load.profile import Profile, profile_for
from tasks.load.rungs import LadderRules
from tasks.run.errors import StageFailed
from tasks.run.record_store import load_record
from tasks.scaling.plan import ScalingPlan, ScalingRules, list_prices, plan_scaling
from tasks.scaling.traffic import Traffic
from tasks.verdicts.check import PlanCheck, ScalingVerdicts, apply_plan, check_folder, check_plan
from tasks.verdicts.collect import SERIES
from tasks.verdicts.profile_observation import ProfileObservation
from tasks.verdicts.report import raise_unless_passed, scaling_markdown
from tasks.verdicts.verdicts import failed
from tests.tasks.verdicts.checked_kit import RUN_ID, SCALE, TYPE, Deployed, deployed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SLO = Traffic(1.0, 1.0, 1.0, 0.0, 300.0, 0.01, 0.01, 2000.0)
RULES = ScalingRules(safety_factor=0.2)
"""The share of MAX_RPS to aim at. The peak of 0.55 MAX_RPS then needs 2.75 instances, and one carries it within the SLO
until the others serve."""
UNWATCHED = Bounds({}, 0.0)
"""Other tests run at the same time; the processor time that they take must not make a verdict inconclusive here."""
CAPACITY = ("--capacity", f"{TYPE}=2:20ms", "--instance-startup-seconds", "120")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed(tmp_path_factory.mktemp("checked"), *CAPACITY) as made:
        yield made


BUSY_SHARE = 0.2
"""Of the processors' time: as the bound of a load test, above which its verdicts are inconclusive."""


@pytest.fixture(scope="module")
def machine(deployment: Deployed) -> Iterator[MachineWatch]:
    with MachineWatch(deployment.run.settings) as watch:
        yield watch


@contextmanager
def unless_disturbed(machine: MachineWatch) -> Iterator[None]:
    """Skip a test whose figures do not hold while other programs had the processors: then they prove nothing."""
    try:
        yield
    except AssertionError as failed:
        shares = [each.values["other_cpu"] for each in machine.samples if "other_cpu" in each.values]
        share = sum(shares) / max(1, len(shares))
        if share > BUSY_SHARE:
            pytest.skip(f"other programs had {share:.0%} of the processors: {failed!s:.500}")
        raise


@pytest.fixture(scope="module")
def record(deployment: Deployed, machine: MachineWatch, image: Path) -> LadderRecord:
    """What other tests take from the machine makes no rate void."""
    at_rest = watch_at_rest(deployment.run.settings)
    own_limits = {name: limit for name, limit in at_rest.limits.items() if name not in EXTERNAL_SIGNALS}
    return measure_deployment(
        deployment.run,
        endpoint=deployment.endpoint,
        function=deployment.function,
        images=[image],
        traffic=SLO,
        rules=LadderRules(first_rps=50.0, factor=1.5, precision=0.25),
        bounds=replace(at_rest, limits=own_limits),
    )


@pytest.fixture(scope="module")
def plan(record: LadderRecord) -> ScalingPlan:
    most = record.measured.max_rps_per_instance.value
    traffic = replace(SLO, baseline_rps=0.08 * most, peak_rps=0.55 * most, spike_rps=0.58 * most)
    return plan_scaling(traffic, record.measured, list_prices(TYPE, "us-east-1"), rules=RULES)


def applied_and_checked(
    deployment: Deployed, plan: ScalingPlan, image: Path, profile: Profile | None = None
) -> ScalingVerdicts:
    run, endpoint, function = deployment.run, deployment.endpoint, deployment.function
    apply_plan(run, plan, endpoint=endpoint, function=function, photo=image.read_bytes())
    trial = PlanCheck(run, plan, endpoint, function, [image], bounds=UNWATCHED)
    return check_plan(trial, profile=profile)


@pytest.fixture(scope="module")
def result(deployment: Deployed, plan: ScalingPlan, image: Path) -> ScalingVerdicts:
    return applied_and_checked(deployment, plan, image)


def seen_of(deployment: Deployed) -> ProfileObservation:
    observation = load_record(check_folder(deployment.run.folder, "function"), ProfileObservation)
    assert observation is not None
    return observation


def test_max_rps_of_one_instance_is_what_its_capacity_allows(record: LadderRecord, machine: MachineWatch) -> None:
    measured, rungs = record.measured, record.ladder.rungs
    with unless_disturbed(machine):
        assert measured.max_rps_per_instance.value >= 50, "two requests at once, 20 ms each: 100 a second"
    assert measured.max_rps_per_instance.value <= 115
    assert {rung.verdict for rung in rungs} >= {"kept", "broke"} and all(rung.n >= 130 for rung in rungs)
    assert 20 <= measured.service_p50_ms.value <= measured.service_p95_ms.value
    assert measured.function_mean_ms.value >= 20 and measured.function_memory_mb == 256
    assert measured.instance_startup_seconds.value >= 120, "the server was told to take two minutes of AWS's"
    assert measured.cold_start_ms.n >= 1 and measured.time_scale == SCALE


def test_the_fleet_grows_to_three_and_back_and_every_prediction_holds(
    deployment: Deployed, result: ScalingVerdicts, machine: MachineWatch
) -> None:
    with unless_disturbed(machine):
        assert failed(result.verdicts) == (), scaling_markdown(result)
    observation = seen_of(deployment)
    counts = [poll.current for poll in observation.instances]
    assert (counts[0], max(counts), counts[-1]) == (1, 3, 1)
    assert observation.activities and {activity.status for activity in observation.activities} == {"Successful"}
    assert {change.alarm for change in observation.alarms if change.state == "ALARM"} == {"high", "low"}
    assert set(observation.series) >= set(SERIES) - {"endpoint_4xx", "endpoint_5xx", "function_errors"}
    raise_unless_passed(result, RUN_ID)


def test_every_request_is_counted_by_locust_and_by_cloudwatch(deployment: Deployed, result: ScalingVerdicts) -> None:
    observation = seen_of(deployment)
    counts = observation.counts
    assert counts.sent == counts.answered + counts.failed == sum(second[0] for second in observation.seconds)
    assert counts.counted == counts.sent + counts.warm_up


def test_the_picture_is_there_and_large_enough(result: ScalingVerdicts) -> None:
    path = Path(result.pictures["function"])
    with Picture.open(path) as picture:
        assert picture.width >= 1200 and picture.height >= 900
    assert path.with_suffix(".svg").read_text().count(f"time scale {SCALE}") >= 1


def test_a_target_ten_times_too_high_fails_the_stage_by_its_own_verdict(
    deployment: Deployed, plan: ScalingPlan, result: ScalingVerdicts, image: Path
) -> None:
    assert result.verdicts, "the good plan comes first: the fleet is back at one instance"
    bad = plan.with_value("target_value", 10 * plan.value("target_value"), "a test")
    whole = profile_for(plan)
    way_out = [replace(stage, seconds=min(stage.seconds, 5.0)) for stage in whole.stages if stage.name != "return"]
    profile = replace(whole, stages=(*way_out, LoadStage(plan.traffic.baseline_rps, 2.0, "return")))
    found = applied_and_checked(deployment, bad, image, profile)
    peak = next(verdict for verdict in found.verdicts if verdict.name == "instances_at_peak")
    assert (peak.state, peak.observed, peak.recommended) == ("FAIL", 1, plan.value("target_value"))
    with pytest.raises(StageFailed, match=r"instances_at_peak \(target_value\): 1 instance, predicted 3 ") as caught:
        raise_unless_passed(found, RUN_ID)
    assert caught.value.exit_code == 9
