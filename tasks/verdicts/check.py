"""Checks a scaling plan: applies it, runs its load profile, judges it, and saves `runs/<id>/scaling.json`.

A run's files are in `runs/<id>/checked/<way>/`, apart from those of steady load tests; the suffixes `-2` and `-3` mark
repetitions. `flows/checked_loadtest.py` decides the order of the steps, `tasks.load.measurements` measures,
`tasks.scaling.plan` derives the plan and `tasks.verdicts.report` shows the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from tasks.load.disturbance import Bounds, MachineSample, distinct_reasons
from tasks.load.generator import GeneratorOptions
from tasks.load.machine_watch import MachineWatch, samples_at_rest, watch_at_rest
from tasks.load.options import Through
from tasks.load.profile import Profile, profile_for, run_profile
from tasks.run.errors import SettingsRefused, StageFailed
from tasks.run.handle import Run, RunFolder
from tasks.run.machine import measured_on
from tasks.run.own_files import remove_tree
from tasks.run.record_store import Amount, Record, load_record, save_record
from tasks.run.records import EndpointRef, FunctionRef, LoadReport
from tasks.run.waiting import say
from tasks.scaling.choice import ScalingPlan
from tasks.serving.autoscaling import ensure_autoscaling, plan_autoscaling
from tasks.serving.concurrency import ensure_concurrency, plan_concurrency
from tasks.serving.spares import wait_for_spares
from tasks.verdicts.collect import InstanceWatch, observe_profile
from tasks.verdicts.observed_values import join_values, observe_values
from tasks.verdicts.picture import draw_profile
from tasks.verdicts.profile_observation import ProfileObservation
from tasks.verdicts.rest import bring_to_rest
from tasks.verdicts.verdicts import Verdict, first_throttled, judge

CHECKED = "checked"
MOST_RUNS = 3

WAYS = {"function": "through the alias", "endpoint": "directly at the endpoint"}
Way = Literal["function", "endpoint"]


@dataclass(frozen=True)
class ScalingVerdicts(Record, file="scaling.json", called="checked scaling plan", made_by="loadtest"):
    """The content of `runs/<id>/scaling.json`. `first_throttled`, `pictures` and `reports` have one entry for each way.

    `at_rest` describes the machine's noise before the load. `repeats` lists what was run again or could not be, and
    why. `notes` says which picture could not be drawn, and why.
    """

    plan: ScalingPlan
    through: str
    verdicts: tuple[Verdict, ...]
    first_throttled: Mapping[str, str]
    profile_seconds: Amount
    pictures: Mapping[str, str] = field(default_factory=dict)
    hardware: str = ""
    reports: Mapping[str, LoadReport] = field(default_factory=dict)
    at_rest: str = ""
    repeats: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every verdict passed."""
        return all(verdict.passed for verdict in self.verdicts)


@dataclass(frozen=True)
class MachineWatchRecord(
    Record, file="watched.json", called="watch of the machine", made_by="loadtest", stored_as="Watched"
):
    """The machine samples taken while a profile ran, and their bounds: `watched.json` in the folder of that run."""

    looks: tuple[MachineSample, ...]
    bounds: Bounds


@dataclass(frozen=True)
class PlanCheck:
    """A plan to check, the deployment to check it on, and the images to send.

    `bounds` decide which stages count as disturbed; with None they are measured before the load.
    """

    run: Run
    plan: ScalingPlan
    endpoint: EndpointRef
    function: FunctionRef
    images: Sequence[Path]
    options: GeneratorOptions | None = None
    bounds: Bounds | None = None


def apply_plan(
    run: Run, plan: ScalingPlan, *, endpoint: EndpointRef, function: FunctionRef, photo: bytes
) -> FunctionRef:
    """Apply every number of a plan without load and wait until it takes effect; return the function after that.

    Instances that are added have to classify `photo`.

    Raises:
        SettingsRefused: a number is out of AWS's bounds, or the plan was measured on another instance type.
        LimitReached: the account cannot reserve the plan's concurrency.
        OwnershipRefused: another scaling policy scales the endpoint already.
        StageFailed: the endpoint or the function failed while it was changed.
        WaitTimedOut: the change did not take effect in time.
        AwsFailed: AWS refused.
    """
    scale_from_rest(run, plan, endpoint=endpoint, photo=photo)
    changed, state = ensure_concurrency(run, plan_concurrency(function, plan))
    say(
        f"plan applied: {plan.count('min_instances')} to {plan.count('max_instances')} instances at "
        f"{plan.value('target_value'):g} invocations a minute each; {state.reserved or 'no'} executions reserved, "
        f"{state.available} provisioned"
    )
    return changed


def require_feasible(plan: ScalingPlan) -> None:
    """Return if the plan can keep the limits of its traffic statement.

    Raises:
        StageFailed: it cannot; the error has the plan's warnings, which say what to change.
    """
    if not plan.is_feasible:
        what = "the plan cannot keep the limits of the traffic statement, so it is not applied"
        force = "change what is named, or kennel loadtest RUN --mode checked --force, which applies and tests it"
        raise StageFailed("scaling plan", what, "\n".join(plan.warnings), force)


def scale_from_rest(run: Run, plan: ScalingPlan, *, endpoint: EndpointRef, photo: bytes) -> None:
    """Bring the endpoint to the plan's minimum without load, then switch autoscaling on with the plan's numbers.

    Raises:
        SettingsRefused: a number is out of AWS's bounds, or the plan was measured on another instance type.
        OwnershipRefused: another scaling policy scales the endpoint already.
        StageFailed: the endpoint failed while it was changed.
        WaitTimedOut: the change did not take effect in time.
        AwsFailed: AWS refused.
    """
    minimum, target = plan.count("min_instances"), plan.value("target_value")
    bring_to_rest(run.aws, endpoint, minimum=minimum, target=target, photo=photo)
    ensure_autoscaling(run, plan_autoscaling(run.id, endpoint, plan))


def check_plan(check: PlanCheck, *, through: Through = "function", profile: Profile | None = None) -> ScalingVerdicts:
    """Run the profile against a plan that is already applied, judge its predictions, save the record and the picture.

    Disturbed stages are run again, at most twice, as long as the machine is quiet in between.

    Raises:
        StageFailed: the load generator left no result.
        WaitTimedOut: a run did not end in time.
        AwsFailed: AWS refused.
    """
    run, plan = check.run, check.plan
    chosen = profile or profile_for(plan)
    bounds = check.bounds or watch_at_rest(run.settings)
    ways: Sequence[Way] = ("function", "endpoint") if through == "both" else (through,)
    # repetitions of an earlier test would otherwise be mixed with this one's
    remove_tree(run.folder / CHECKED)
    messages: list[str] = []
    runs = {way: list(_runs(check, way, chosen, bounds, messages)) for way in ways}
    whole = {way: of_way[0] for way, of_way in runs.items()}
    found = join_values(
        [observe_values(plan, chosen, observation) for of_way in runs.values() for observation in of_way]
    )
    every = [observation for of_way in runs.values() for observation in of_way]
    verdicts = judge(plan, found, every, tests_function=through != "endpoint")
    result = ScalingVerdicts(  # saved before pictures are drawn, which may fail
        plan=plan,
        through=through,
        verdicts=verdicts,
        first_throttled={way: first_throttled(observation) for way, observation in whole.items()},
        profile_seconds=chosen.seconds,
        hardware=measured_on(run.settings),
        reports={way: report for way in ways if (report := _report(run.folder, way)) is not None},
        at_rest=bounds.text(),
        repeats=tuple(messages),
    )
    run.keep(result)
    return save_with_pictures(run, result, whole)


def save_with_pictures(
    run: RunFolder, result: ScalingVerdicts, seen: Mapping[Way, ProfileObservation]
) -> ScalingVerdicts:
    """Draw a picture for each way and save the record with their paths; a picture that fails is a note instead."""
    pictures: dict[str, str] = {}
    notes: list[str] = []
    for way, observation in seen.items():
        folder = Path(observation.files["json"]).parent
        try:
            path = draw_profile(result.plan, observation, result.verdicts, folder, disturbed=observation.stretches)
        except Exception as error:  # noqa: BLE001 matplotlib raises anything, or is not there; the verdicts stand
            notes.append(f"there is no picture, {way}: {type(error).__name__}: {error}")
            say(notes[-1])
        else:
            pictures[way] = str(path)
    drawn = replace(result, pictures=pictures, notes=tuple(notes))
    run.keep(drawn)
    return drawn


def _runs(
    check: PlanCheck, way: Way, profile: Profile, bounds: Bounds, messages: list[str]
) -> Iterator[ProfileObservation]:
    """Yield the run of the whole profile, then the repetitions of its disturbed part, while the machine is quiet."""
    chosen, repetition = profile, ""
    for attempt in range(1, MOST_RUNS + 1):
        say(f"load profile: {chosen.seconds:.0f} s, {WAYS[way]}{repetition}")
        observation = _run(check, way, chosen, bounds, attempt)
        yield observation
        disturbed = disturbed_stages(observation)
        if not disturbed or attempt == MOST_RUNS:
            return
        reason = observation.why_invalid if observation.is_void else distinct_reasons(observation.disturbed.values())
        noise = bounds.exceeded(samples_at_rest(check.run.settings))
        what = f"the run {WAYS[way]} was disturbed in {', '.join(disturbed)}: {reason}"
        if noise:
            messages.append(f"{what}; it is not run again, because the machine is not quiet: {'; '.join(noise)}")
            say(messages[-1])
            return
        messages.append(f"{what}; it is run again")
        say(messages[-1])
        scale_from_rest(check.run, check.plan, endpoint=check.endpoint, photo=check.images[0].read_bytes())
        chosen = profile.until(last_stage_to_repeat(disturbed))
        repetition = f", run {attempt + 1} of at most {MOST_RUNS}"


def disturbed_stages(observation: ProfileObservation) -> tuple[str, ...]:
    """Return the stages of a run that cannot be judged: all stages of a void run, otherwise the disturbed ones."""
    if observation.is_void:
        return tuple(stage.name for stage in observation.stages)
    return tuple(stage.name for stage in observation.stages if stage.name in observation.disturbed)


def last_stage_to_repeat(disturbed: Sequence[str]) -> str:
    """Return the stage up to which the profile has to be run again. Every stage after the rise depends on the rise."""
    return "return" if set(disturbed) - {"baseline"} else "baseline"


def _run(check: PlanCheck, way: Way, profile: Profile, bounds: Bounds, attempt: int) -> ProfileObservation:
    aws, endpoint, function = check.run.aws, check.endpoint, check.function
    target, folder = function if way == "function" else endpoint, check_folder(check.run.folder, way, attempt)
    wait_for_spares(aws.settings)
    with MachineWatch(aws.settings) as machine, InstanceWatch(aws, endpoint) as watch:
        report = run_profile(aws, folder, target=target, images=check.images, profile=profile, options=check.options)
    observation = observe_profile(
        aws,
        report,
        watch,
        endpoint=endpoint,
        function=function if way == "function" else None,
        machine_samples=machine.samples,
        bounds=bounds,
    )
    save_record(folder, observation)
    save_record(folder, MachineWatchRecord(tuple(machine.samples), bounds))
    return observation


def check_folder(run_dir: Path, way: Way, attempt: int = 1) -> Path:
    """Return the folder of a run through one way, for the first attempt or a repetition."""
    return run_dir / CHECKED / (way if attempt == 1 else f"{way}-{attempt}")


def _report(run_dir: Path, way: Way) -> LoadReport | None:
    return load_record(check_folder(run_dir, way), LoadReport)


def with_overrides(plan: ScalingPlan, overrides: Mapping[str, float]) -> ScalingPlan:
    """Return the plan with numbers set by hand. Its predictions stay, so that the run judges the new numbers.

    Raises:
        SettingsRefused: a value is out of bounds, or the plan has no number of that name.
    """
    changed = plan
    for name, value in overrides.items():
        try:
            changed = changed.with_value(name, value, "set by hand")
        except KeyError as error:
            raise SettingsRefused("scaling plan", name, str(error.args[0]), "use one of these names") from error
    return changed
