"""A plan put to the test: applied, run against with its profile, judged, and kept in `runs/<id>/scaling.json`.

What a run leaves lies in `runs/<id>/checked/<way>/`, apart from steady load tests; `-2` and `-3` mark repetitions.
The order is the flow's (`flows/checked_loadtest.py`); measuring is `tasks.load.measurements`', deriving
`tasks.scaling.plan`'s, showing `tasks.verdicts.report`'s.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tasks.load.disturbance import Bounds, Look, brief
from tasks.load.generator import GeneratorOptions
from tasks.load.machine_watch import MachineWatch, looks_at_rest, watch_at_rest
from tasks.load.options import Through
from tasks.load.profile import Profile, profile_of, run_profile
from tasks.run.errors import SettingsRefused
from tasks.run.handle import Run
from tasks.run.machine import measured_on
from tasks.run.record_store import Record, load_record, save_record
from tasks.run.records import EndpointRef, FunctionRef, LoadReport
from tasks.run.waiting import say
from tasks.scaling.choice import ScalingPlan
from tasks.serving.autoscaling import ensure_autoscaling, plan_autoscaling
from tasks.serving.concurrency import ensure_concurrency, plan_concurrency
from tasks.serving.spares import wait_for_spares
from tasks.verdicts.observation import InstanceWatch, see
from tasks.verdicts.observed import observe, preferred
from tasks.verdicts.picture import draw
from tasks.verdicts.rest import bring_to_rest
from tasks.verdicts.seen import Seen
from tasks.verdicts.verdicts import Verdict, first_throttled, judge

CHECKED = "checked"
MOST_RUNS = 3

WAYS = {"function": "through the alias", "endpoint": "directly at the endpoint"}
Way = Literal["function", "endpoint"]


@dataclass(frozen=True)
class ScalingVerdicts(Record, file="scaling.json", called="checked scaling plan", made_by="loadtest"):
    """What `runs/<id>/scaling.json` holds; `first_throttled`, `pictures` and `reports` are by way.

    `at_rest` says how noisy the machine was before the load, `repeats` what was run again, or was not, and why.
    """

    plan: ScalingPlan
    through: str
    verdicts: tuple[Verdict, ...]
    first_throttled: Mapping[str, str]
    profile_seconds: float
    pictures: Mapping[str, str] = field(default_factory=dict)
    hardware: str = ""
    reports: Mapping[str, LoadReport] = field(default_factory=dict)
    at_rest: str = ""
    repeats: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every verdict passed."""
        return all(verdict.passed for verdict in self.verdicts)


@dataclass(frozen=True)
class Watched(Record, file="watched.json", called="watch of the machine", made_by="loadtest"):
    """What was seen of the machine while a profile ran, and the bounds: `watched.json` in the folder of that run."""

    looks: tuple[Look, ...]
    bounds: Bounds


@dataclass(frozen=True)
class Trial:
    """What a profile is run against, and with what. `bounds` tell what is disturbed; None: found before the load."""

    run: Run
    plan: ScalingPlan
    endpoint: EndpointRef
    function: FunctionRef
    images: Sequence[Path]
    options: GeneratorOptions | None = None
    bounds: Bounds | None = None


def apply_plan(run: Run, plan: ScalingPlan, *, endpoint: EndpointRef, function: FunctionRef) -> FunctionRef:
    """Set everything that a plan says, at rest, and wait until it is ready; return the function as it is then.

    Raises:
        SettingsRefused, LimitReached, OwnershipRefused: a number cannot be set here.
        StageFailed, WaitTimedOut: it did not become ready.
        AwsFailed: AWS refused.
    """
    scale_from_rest(run, plan, endpoint=endpoint)
    changed, state = ensure_concurrency(run, plan_concurrency(function, plan))
    say(
        f"plan applied: {plan.count('min_instances')} to {plan.count('max_instances')} instances at "
        f"{plan.value('target_value'):g} invocations a minute each; {state.reserved} executions reserved, "
        f"{state.available} provisioned"
    )
    return changed


def scale_from_rest(run: Run, plan: ScalingPlan, *, endpoint: EndpointRef) -> None:
    """Bring the endpoint to the plan's fewest instances, without load, and have it scale as planned from there.

    Raises:
        As `apply_plan`.
    """
    bring_to_rest(run.aws, endpoint, minimum=plan.count("min_instances"), target=plan.value("target_value"))
    ensure_autoscaling(run, plan_autoscaling(run.id, endpoint, plan))


def check_plan(trial: Trial, *, through: Through = "function", profile: Profile | None = None) -> ScalingVerdicts:
    """Run the profile against a plan that is applied, judge its predictions, keep record and picture.

    What was disturbed is run again, at most twice, as long as the machine is quiet in between.

    Raises:
        StageFailed, WaitTimedOut: a run left no result.
        AwsFailed: AWS refused.
    """
    run, plan = trial.run, trial.plan
    chosen = profile or profile_of(plan)
    bounds = trial.bounds or watch_at_rest(run.settings)
    ways: Sequence[Way] = ("function", "endpoint") if through == "both" else (through,)
    # an earlier test's repetitions would stand beside this one's
    shutil.rmtree(run.folder / CHECKED, ignore_errors=True)
    told: list[str] = []
    runs = {way: list(_runs(trial, way, chosen, bounds, told)) for way in ways}
    whole = {way: of_way[0] for way, of_way in runs.items()}
    found = preferred([observe(plan, chosen, seen) for of_way in runs.values() for seen in of_way])
    every = [seen for of_way in runs.values() for seen in of_way]
    verdicts = judge(plan, found, every, tests_function=through != "endpoint")
    result = ScalingVerdicts(
        plan=plan,
        through=through,
        verdicts=verdicts,
        first_throttled={way: first_throttled(seen) for way, seen in whole.items()},
        profile_seconds=chosen.seconds,
        pictures={way: _picture(plan, seen, verdicts) for way, seen in whole.items()},
        hardware=measured_on(run.settings),
        reports={way: report for way in ways if (report := _report(run.folder, way)) is not None},
        at_rest=bounds.text(),
        repeats=tuple(told),
    )
    run.keep(result)
    return result


def _runs(trial: Trial, way: Way, profile: Profile, bounds: Bounds, told: list[str]) -> Iterator[Seen]:
    """Yield the whole profile's run, then those of its disturbed part, while that is worth trying."""
    chosen, open_ = profile, ""
    for attempt in range(1, MOST_RUNS + 1):
        say(f"profile: {chosen.seconds:.0f} s, {WAYS[way]}{open_}")
        seen = _run(trial, way, chosen, bounds, attempt)
        yield seen
        disturbed = spoilt(seen)
        if not disturbed or attempt == MOST_RUNS:
            return
        reason = seen.why_invalid if seen.is_void else brief(seen.disturbed.values())
        loud = bounds.exceeded(looks_at_rest(trial.run.settings))
        again = f"{', '.join(disturbed)} of the run {WAYS[way]} disturbed: {reason}"
        if loud:
            told.append(f"{again}; not run again, the machine is not quiet: {'; '.join(loud)}")
            say(told[-1])
            return
        told.append(f"{again}; run again")
        say(told[-1])
        scale_from_rest(trial.run, trial.plan, endpoint=trial.endpoint)
        chosen, open_ = profile.until(last_needed(disturbed)), f", {attempt + 1} of at most {MOST_RUNS}"


def spoilt(seen: Seen) -> tuple[str, ...]:
    """Return the stages of a run that say nothing: all of a void run's, else the disturbed ones."""
    if seen.is_void:
        return tuple(stage.name for stage in seen.stages)
    return tuple(stage.name for stage in seen.stages if stage.name in seen.disturbed)


def last_needed(disturbed: Sequence[str]) -> str:
    """Return the stage up to which the profile has to be run again: all after the rise rests on it."""
    return "return" if set(disturbed) - {"baseline"} else "baseline"


def _run(trial: Trial, way: Way, profile: Profile, bounds: Bounds, attempt: int) -> Seen:
    aws, endpoint, function = trial.run.aws, trial.endpoint, trial.function
    target, folder = function if way == "function" else endpoint, folder_of(trial.run.folder, way, attempt)
    wait_for_spares(aws.settings)
    with MachineWatch(aws.settings) as machine, InstanceWatch(aws, endpoint) as watch:
        report = run_profile(aws, folder, target=target, images=trial.images, profile=profile, options=trial.options)
    seen = see(
        aws,
        report,
        watch,
        endpoint=endpoint,
        function=function if way == "function" else None,
        looks=machine.looks,
        bounds=bounds,
    )
    save_record(folder, seen)
    save_record(folder, Watched(tuple(machine.looks), bounds))
    return seen


def folder_of(run_dir: Path, way: Way, attempt: int = 1) -> Path:
    """Return the folder of a way's run, the first or a repetition."""
    return run_dir / CHECKED / (way if attempt == 1 else f"{way}-{attempt}")


def _report(run_dir: Path, way: Way) -> LoadReport | None:
    return load_record(folder_of(run_dir, way), LoadReport)


def _picture(plan: ScalingPlan, seen: Seen, verdicts: Sequence[Verdict]) -> str:
    return str(draw(plan, seen, verdicts, Path(seen.files["json"]).parent, disturbed=seen.stretches))


def with_overrides(plan: ScalingPlan, overrides: Mapping[str, float]) -> ScalingPlan:
    """Return the plan with numbers set by hand; the predictions stay, so that the run judges the numbers.

    Raises:
        SettingsRefused: a value is out of bounds, or a choice is unknown.
    """
    changed = plan
    for name, value in overrides.items():
        try:
            changed = changed.with_value(name, value, "set by hand")
        except KeyError as error:
            raise SettingsRefused("scaling plan", name, str(error.args[0]), "name one of these") from error
    return changed
