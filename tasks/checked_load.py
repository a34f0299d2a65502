"""A plan put to the test: applied, run against with its profile, judged, and kept in `runs/<id>/scaling.json`.

The order is the flow's (`flows/loadtest.py`); measuring is `tasks.load_measurements`', deriving `tasks.scaling_plan`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tasks.autoscaling import ensure_autoscaling, plan_autoscaling
from tasks.aws import Aws
from tasks.concurrency import ensure_concurrency, plan_concurrency
from tasks.errors import SettingsRefused, StageFailed
from tasks.ledger import Ledger
from tasks.load_picture import draw
from tasks.load_profile import Profile, profile_of, run_profile
from tasks.loadtest import LoadOptions
from tasks.machine import where
from tasks.observation import InstanceWatch, see
from tasks.observed import Observed, observe, preferred
from tasks.profile_records import Seen
from tasks.records import EndpointRef, FunctionRef, save_record
from tasks.rest import bring_to_rest
from tasks.scaling_choice import ScalingPlan, amount
from tasks.verdicts import Verdict, failed, first_throttled, judge, verdict_table
from tasks.waiting import say

SCALING = "scaling"
"""The record of a plan and its verdicts."""
SEEN = "loadtest-seen"
"""The record of what the profile's run showed, by way: `-function` or `-endpoint` is added."""
DIRECT = "loadtest-direct"
"""The folder of the run directly at the endpoint, when there is one through the function too."""

WAYS = {"function": "through the alias", "endpoint": "directly at the endpoint"}
Through = Literal["function", "endpoint", "both"]


@dataclass(frozen=True)
class ScalingVerdicts:
    """What `runs/<id>/scaling.json` holds; `first_throttled` and `pictures` are by way, function or endpoint."""

    plan: ScalingPlan
    through: str
    verdicts: tuple[Verdict, ...]
    first_throttled: Mapping[str, str]
    profile_seconds: float
    pictures: Mapping[str, str] = field(default_factory=dict)
    hardware: str = ""

    @property
    def passed(self) -> bool:
        """Whether every verdict passed."""
        return not failed(self.verdicts)


def apply_plan(
    aws: Aws, ledger: Ledger, plan: ScalingPlan, *, run_id: str, endpoint: EndpointRef, function: FunctionRef
) -> FunctionRef:
    """Set everything that a plan says, at rest, and wait until it is ready; return the function as it is then.

    Raises:
        SettingsRefused, LimitReached, OwnershipRefused: a number cannot be set here.
        StageFailed, WaitTimedOut: it did not become ready.
        AwsFailed: AWS refused.
    """
    bring_to_rest(aws, endpoint, minimum=plan.count("min_instances"), target=plan.value("target_value"))
    ensure_autoscaling(aws, ledger, plan_autoscaling(run_id, endpoint, plan))
    changed, state = ensure_concurrency(aws, ledger, plan_concurrency(function, plan))
    say(
        f"plan applied: {plan.count('min_instances')} to {plan.count('max_instances')} instances at "
        f"{plan.value('target_value'):g} invocations a minute each; {state.reserved} executions reserved, "
        f"{state.available} provisioned"
    )
    return changed


def check_plan(
    aws: Aws,
    run_dir: Path,
    plan: ScalingPlan,
    *,
    endpoint: EndpointRef,
    function: FunctionRef,
    images: Sequence[Path],
    through: Through = "function",
    profile: Profile | None = None,
    options: LoadOptions | None = None,
) -> ScalingVerdicts:
    """Run the profile against a plan that is applied, judge its predictions, keep record and picture.

    A void run, whose generator was the bottleneck, is made once more; its verdict fails when that is void too.

    Raises:
        StageFailed, WaitTimedOut: a run left no result.
        AwsFailed: AWS refused.
    """
    chosen = profile or profile_of(plan)
    ways: Sequence[Literal["function", "endpoint"]] = ("function", "endpoint") if through == "both" else (through,)
    runs: dict[str, Seen] = {}
    for way in ways:
        target = function if way == "function" else endpoint
        folder = run_dir / DIRECT if through == "both" and way == "endpoint" else run_dir
        say(f"profile: {chosen.seconds:.0f} s, {WAYS[way]}, at {target.name}")
        seen = _run(aws, folder, way, endpoint, function, images, chosen, options)
        if not seen.is_valid:
            say(f"profile: void and made once more: {seen.why_invalid}")
            seen = _run(aws, folder, way, endpoint, function, images, chosen, options)
        save_record(run_dir, f"{SEEN}-{way}", seen)
        runs[way] = seen
    found = preferred([observe(plan, chosen, seen) for seen in runs.values()])
    verdicts = judged(plan, found, list(runs.values()), through)
    pictures = {way: str(draw(plan, seen, verdicts, Path(seen.files["json"]).parent)) for way, seen in runs.items()}
    result = ScalingVerdicts(
        plan=plan,
        through=through,
        verdicts=verdicts,
        first_throttled={way: first_throttled(seen) for way, seen in runs.items()},
        profile_seconds=chosen.seconds,
        pictures=pictures,
        hardware=where(aws.settings),
    )
    save_record(run_dir, SCALING, result)
    return result


def _run(
    aws: Aws,
    folder: Path,
    way: Literal["function", "endpoint"],
    endpoint: EndpointRef,
    function: FunctionRef,
    images: Sequence[Path],
    profile: Profile,
    options: LoadOptions | None,
) -> Seen:
    target = function if way == "function" else endpoint
    with InstanceWatch(aws, endpoint) as watch:
        report = run_profile(aws, folder, target=target, images=images, profile=profile, options=options)
    return see(aws, report, watch, endpoint=endpoint, function=function if way == "function" else None)


def judged(
    plan: ScalingPlan, found: Mapping[str, Observed], runs: Sequence[Seen], through: Through
) -> tuple[Verdict, ...]:
    """Judge what was found; a way that the profile did not go is not held against the plan."""
    return judge(plan, found, runs, tests_function=through != "endpoint")


def scaling_markdown(result: ScalingVerdicts) -> str:
    """Return plan, verdicts and pictures as a section of Markdown."""
    lost = failed(result.verdicts)
    verdict = "every verdict passed" if not lost else f"**{len(lost)} of {len(result.verdicts)} verdicts did not pass**"
    direct = " It went directly at the endpoint: the function's numbers were not tested."
    untested = direct if result.through == "endpoint" else ""
    lines = [
        "## Scaling: plan and verdicts",
        "",
        f"{result.profile_seconds:.0f} s of profile on {result.hardware}; {verdict}.{untested}",
        "",
        result.plan.markdown(),
        verdict_table(result.verdicts),
        *(f"- {way}: {text}" for way, text in result.first_throttled.items()),
        "",
        *(f"![profile, {way}]({path})" for way, path in result.pictures.items()),
    ]
    return "\n".join([*lines, ""])


def scaling_text(result: ScalingVerdicts) -> str:
    """Return plan and verdicts in one line."""
    plan, lost, count = result.plan, failed(result.verdicts), len(result.verdicts)
    verdicts = f"{len(lost)} of {count} verdicts did not pass" if lost else f"all {count} verdicts passed"
    return (
        f"{plan.count('min_instances')} to {plan.count('max_instances')} instances, target "
        f"{plan.value('target_value'):g} a minute, {plan.count('reserved_concurrency')} reserved, "
        f"{plan.count('provisioned_concurrency')} provisioned; {verdicts}"
    )


def verdict_rows(result: ScalingVerdicts) -> dict[str, str]:
    """Return the rows of the table that `kennel loadtest` ends with: the plan, each verdict, the pictures."""
    rows = {"scaling": scaling_text(result)}
    for each in result.verdicts:
        seen = "" if each.observed is None else f"{amount(each.observed, each.unit)}; "
        advice = "" if each.recommended is None else f"; recommended {each.choice} {each.recommended:g}"
        why = f"; {each.why}" if each.observed is None else ""
        rows[each.what] = f"{each.state}: {seen}predicted {each.range}{why}{advice}"
    rows |= {f"throttled first, {way}": text for way, text in result.first_throttled.items()}
    return rows | {f"picture, {way}": path for way, path in result.pictures.items()}


def scaling_json(result: ScalingVerdicts) -> dict[str, object]:
    """Return what `--json` prints of a plan and its verdicts."""
    return {
        "passed": result.passed,
        "plan": {choice.name: choice.value for choice in result.plan.choices},
        "monthly_cost_usd": result.plan.monthly_cost_usd,
        "verdicts": [
            {
                "name": each.name,
                "number": each.choice,
                "state": each.state,
                "predicted": [each.predicted, each.low, each.high],
                "chance": each.chance,
                "observed": each.observed,
                "samples": each.samples,
                "unit": each.unit,
                "recommended": each.recommended,
            }
            for each in result.verdicts
        ],
        "first_throttled": dict(result.first_throttled),
        "pictures": dict(result.pictures),
        "time_scale": result.plan.measured.time_scale,
    }


def raise_if_failed(result: ScalingVerdicts, run_id: str) -> None:
    """Fail the stage when a verdict did not pass, so that a load test gates a deploy.

    Raises:
        StageFailed: a verdict failed or was not observed.
    """
    lost = failed(result.verdicts)
    if not lost:
        return
    what = f"{len(lost)} of {len(result.verdicts)} verdicts on the scaling plan did not pass"
    raise StageFailed("loadtest", what, "; ".join(_told(each) for each in lost), f"see runs/{run_id}/report.md")


def _told(verdict: Verdict) -> str:
    advice = "" if verdict.recommended is None else f", recommended {verdict.choice}={verdict.recommended:g}"
    seen = "not observed" if verdict.observed is None else amount(verdict.observed, verdict.unit)
    return f"{verdict.name} ({verdict.choice}): {seen}, predicted {verdict.range}{advice}"


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
