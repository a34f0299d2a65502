"""Presents a checked scaling plan as one line, table rows, Markdown and JSON, and raises when a verdict failed.

The functions are pure: everything comes from the record `ScalingVerdicts`.
"""

from __future__ import annotations

from tasks.load.disturbance import distinct_reasons
from tasks.load.report import RETRY, load_json, load_text
from tasks.run.errors import Inconclusive, StageFailed
from tasks.run.escaping import markdown_link, markdown_text
from tasks.scaling.choice import format_amount
from tasks.verdicts.check import ScalingVerdicts
from tasks.verdicts.verdicts import Verdict, failed, inconclusive, verdict_counts, verdict_table


def scaling_text(result: ScalingVerdicts) -> str:
    """Return the plan's numbers and the count of verdicts in one line."""
    plan = result.plan
    return (
        f"{plan.count('min_instances')} to {plan.count('max_instances')} instances, target "
        f"{plan.value('target_value'):g} a minute, {plan.count('reserved_concurrency') or 'none'} reserved, "
        f"{plan.count('provisioned_concurrency')} provisioned; {verdict_counts(result.verdicts)}"
    )


def scaling_markdown(result: ScalingVerdicts) -> str:
    """Return the plan, the verdicts and the pictures as a section of Markdown."""
    verdict = verdict_counts(result.verdicts)
    direct = " The requests went directly to the endpoint, so the function's numbers were not tested."
    untested = direct if result.through == "endpoint" else ""
    lines = [
        "## Scaling: plan and verdicts",
        "",
        f"The load profile lasted {result.profile_seconds:.0f} s on {markdown_text(result.hardware)}; "
        f"{verdict if result.passed else f'**{verdict}**'}.{untested}",
        "",
        f"The machine {markdown_text(result.at_rest)}." if result.at_rest else "The machine was not monitored.",
        *(f"- {markdown_text(line)}" for line in result.repeats),
        "",
        result.plan.markdown(),
        verdict_table(result.verdicts),
        *(f"- {markdown_text(way)}: {markdown_text(text)}" for way, text in result.first_throttled.items()),
        "",
        *(f"!{markdown_link(f'profile, {way}', path)}" for way, path in result.pictures.items()),
        *(f"- {markdown_text(note)}" for note in result.notes),
    ]
    return "\n".join([*lines, ""])


def checked_rows(result: ScalingVerdicts) -> dict[str, str]:
    """Return the rows of a run's table: the load sent through each way, and the result of the plan."""
    return {f"load, {way}": load_text(load) for way, load in result.reports.items()} | {"scaling": scaling_text(result)}


def verdict_rows(result: ScalingVerdicts) -> dict[str, str]:
    """Return the rows of the table that `kennel loadtest` prints last: load, plan, each verdict, pictures."""
    rows = checked_rows(result)
    for each in result.verdicts:
        seen = "" if each.observed is None else f"{format_amount(each.observed, each.unit)}; "
        advice = "" if each.recommended is None else f"; recommended {each.choice} {each.recommended:g}"
        why = f"; {each.why}" if each.observed is None or each.state == "INCONCLUSIVE" else ""
        rows[each.what] = f"{each.state}: {seen}predicted {each.range}{why}{advice}"
    rows |= {f"throttled first, {way}": text for way, text in result.first_throttled.items()}
    rows |= {f"note {number}": note for number, note in enumerate(result.notes, 1)}
    return rows | {f"picture, {way}": path for way, path in result.pictures.items()}


def scaling_json(result: ScalingVerdicts) -> dict[str, object]:
    """Return the JSON content that `--json` prints for a plan and its verdicts."""
    return {
        "passed": result.passed,
        "failed": len(failed(result.verdicts)),
        "inconclusive": len(inconclusive(result.verdicts)),
        "plan": {choice.name: choice.value for choice in result.plan.choices},
        "monthly_cost_usd": result.plan.monthly_cost_usd,
        "verdicts": [
            {
                "name": each.name,
                "number": each.choice,
                "state": each.state,
                "predicted": [each.predicted, each.low, each.high],
                "chance": each.chance,
                "noise": each.noise,
                "observed": each.observed,
                "samples": each.samples,
                "unit": each.unit,
                "recommended": each.recommended,
                "why": each.why,
            }
            for each in result.verdicts
        ],
        "loads": {way: load_json(load) for way, load in result.reports.items()},
        "first_throttled": dict(result.first_throttled),
        "pictures": dict(result.pictures),
        "at_rest": result.at_rest,
        "repeats": list(result.repeats),
        "notes": list(result.notes),
        "time_scale": result.plan.measured.time_scale,
    }


def raise_unless_passed(result: ScalingVerdicts, run_id: str) -> None:
    """Fail the stage when a verdict failed, so that a load test can gate a deploy.

    Raises:
        StageFailed: at least one verdict failed.
        Inconclusive: no verdict failed, and at least one could not be judged.
    """
    lost, open_ = failed(result.verdicts), inconclusive(result.verdicts)
    helps = f"see runs/{run_id}/report.html"
    if lost:
        what = f"{len(lost)} of {len(result.verdicts)} verdicts on the scaling plan failed"
        raise StageFailed("loadtest", what, "; ".join(_told(each) for each in lost), helps)
    if open_:
        what = f"{len(open_)} of {len(result.verdicts)} verdicts on the scaling plan could not be judged, none failed"
        kept = "" if result.plan.measured.disturbed else "; --no-remeasure keeps the ladder"
        again = f"{RETRY}{kept}; {helps}"
        raise Inconclusive("loadtest", what, distinct_reasons(verdict.why for verdict in open_), again)


def _told(verdict: Verdict) -> str:
    advice = "" if verdict.recommended is None else f", recommended {verdict.choice}={verdict.recommended:g}"
    seen = "not observed" if verdict.observed is None else format_amount(verdict.observed, verdict.unit)
    return f"{verdict.name} ({verdict.choice}): {seen}, predicted {verdict.range}{advice}"
