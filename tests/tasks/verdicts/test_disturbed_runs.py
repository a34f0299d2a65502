"""Tests a run that is disturbed on purpose: the embedded AWS is stopped for a moment, and the stage is run again."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.load.disturbance import Bounds
from tasks.load.generator import GeneratorOptions, LoadStage
from tasks.load.profile import Profile
from tasks.run.errors import Inconclusive
from tasks.run.record_store import load_record
from tasks.verdicts.check import PlanCheck, check_folder, check_plan, last_stage_to_repeat
from tasks.verdicts.profile_observation import ProfileObservation
from tasks.verdicts.report import raise_unless_passed, scaling_markdown, scaling_text
from tests.polling import wait_until
from tests.tasks.scaling.deployments import plan
from tests.tasks.verdicts.checked_kit import RUN_ID, SCALE, Deployed, deployed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

STEADY = plan(baseline_rps=8.0, peak_rps=8.0, spike_rps=8.0, ramp_seconds=0.0, measures={"time_scale": float(SCALE)})
BEGUN_REQUESTS = 16
"""Two seconds of a stage that lasts nine: more than a warm-up that drew many arrivals, and well before the end."""
BASELINE = Profile((LoadStage(8.0, 9.0, "baseline"),))
ONLY_STOPS = Bounds({"loop_late_ms": 0.0}, 2.0, {"loop_late_ms": 1000.0})
"""Other tests run at the same time, so only the server's pause of 1.5 s counts as a disturbance here."""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed(tmp_path_factory.mktemp("disturbed")) as made:
        yield made


def stop_while_loaded(deployment: Deployed, seconds: float = 1.5) -> threading.Thread:
    """Stop the embedded AWS for a moment in the first run, once the load of its stage has begun."""
    warm_up = GeneratorOptions().warm_up_seconds * BASELINE.stages[0].rate_per_second

    def invocations() -> float:
        of_function = {"FunctionName": deployment.function.name}
        return sum(deployment.server.sums("AWS/Lambda", "Invocations", of_function).values())

    def stop() -> None:
        wait_until(invocations, "the load", 120, holds=lambda counted: counted >= warm_up + BEGUN_REQUESTS)
        os.kill(deployment.server.localaws.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(deployment.server.localaws.pid, signal.SIGCONT)

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    return thread


def plan_check(deployment: Deployed, image: Path) -> PlanCheck:
    return PlanCheck(
        deployment.run,
        STEADY,
        deployment.endpoint,
        deployment.function,
        [image],
        bounds=ONLY_STOPS,
    )


def test_a_stage_in_which_the_server_stood_still_is_run_again_and_then_judged(
    deployment: Deployed, image: Path
) -> None:
    stopping = stop_while_loaded(deployment)
    result = check_plan(plan_check(deployment, image), profile=BASELINE)
    stopping.join()
    first, second = (
        load_record(check_folder(deployment.run.folder, "function", attempt), ProfileObservation) for attempt in (1, 2)
    )
    assert first is not None and second is not None
    assert "embedded AWS late by" in first.disturbed["baseline"] and first.stretches
    assert second.disturbed == {} and second.stretches == ()
    (message,) = result.repeats
    assert message.startswith("the run through the alias was disturbed in baseline") and message.endswith(
        "; it is run again"
    )
    states = {verdict.name: verdict.state for verdict in result.verdicts}
    assert states["instances_at_baseline"] == "PASS" and states["requests_lost"] == "PASS"
    assert states["function_p95_at_peak"] == "INCONCLUSIVE", "there was no peak"
    assert message in scaling_markdown(result) and "inconclusive" in scaling_text(result)
    with pytest.raises(Inconclusive, match="could not be judged, none failed") as caught:
        raise_unless_passed(result, RUN_ID)
    assert caught.value.exit_code == 11


@pytest.mark.parametrize(
    ("disturbed", "last"),
    [
        (("baseline",), "baseline"),
        (("ramp",), "return"),
        (("baseline", "peak"), "return"),
        (("return",), "return"),
        (("baseline", "return"), "return"),
    ],
)
def test_the_profile_is_run_again_up_to_what_is_needed(disturbed: tuple[str, ...], last: str) -> None:
    assert last_stage_to_repeat(disturbed) == last
