"""Says in sentences what a run achieved and what it did not, and which number of its plan is the weakest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.report.summary import RunSummary, accuracy_text
from tasks.scaling.choice import format_amount
from tasks.verdicts.verdicts import Verdict, failed, inconclusive, verdict_counts


@dataclass(frozen=True)
class Headline:
    """Sentences: what was achieved, what was not or failed, and what could not be judged."""

    achieved: tuple[str, ...]
    missed: tuple[str, ...]
    unjudged: tuple[str, ...]


def headline(summary: RunSummary) -> Headline:
    """Return what a run's records say of it."""
    return Headline(tuple(_achieved(summary)), tuple(_missed(summary)), tuple(_unjudged(summary)))


def _achieved(summary: RunSummary) -> list[str]:
    model, endpoint, smoke, scaling = summary.model, summary.endpoint, summary.smoke, summary.scaling
    found = []
    if model is not None:
        found.append(f"The model's test accuracy is {accuracy_text(model.test_accuracy, model.test_images)}.")
    if endpoint is not None and smoke is not None:
        where = f"{endpoint.instance_count} × {endpoint.instance_type}"
        found.append(f"The endpoint on {where} answers through its function: a photo took {smoke.latency_ms:g} ms.")
    if scaling is not None and not failed(scaling.verdicts) and _judged(scaling.verdicts):
        what = "What could be judged of the scaling plan" if inconclusive(scaling.verdicts) else "The scaling plan"
        found.append(f"{what} held under load: {verdict_counts(scaling.verdicts)}.")
    if summary.parity is not None and summary.parity.accuracy_difference == 0:
        found.append(f"The training on EC2, compared with SageMaker's: {summary.parity.verdict}.")
    return found


def _judged(verdicts: Sequence[Verdict]) -> bool:
    """Return whether a prediction of a number of the plan was judged, and not only the run itself."""
    return any(each.passed and each.choice != "the run" for each in verdicts)


def _missed(summary: RunSummary) -> list[str]:
    found = [note[:1].upper() + note[1:] + "." for note in summary.notes]
    lost = failed(summary.scaling.verdicts) if summary.scaling is not None else []
    if summary.parity is not None and summary.parity.accuracy_difference != 0:
        found.append(f"The same accuracy on EC2 as on SageMaker: {summary.parity.verdict}.")
    return found + [f"{each.what}: {_observed(each)}, where the plan predicted {each.range}." for each in lost]


def _unjudged(summary: RunSummary) -> list[str]:
    open_ = inconclusive(summary.scaling.verdicts) if summary.scaling is not None else []
    if open_:
        return [f"{len(open_)} of the plan's predictions could not be judged: {summary.inconclusive or open_[0].why}."]
    if summary.inconclusive:
        return [f"{summary.inconclusive}."]
    if summary.loadtest is None and summary.scaling is None and summary.endpoint is not None:
        return ["No load test judged the deployment."]
    return []


def _observed(verdict: Verdict) -> str:
    return "not observed" if verdict.observed is None else format_amount(verdict.observed, verdict.unit)


def weakest(verdicts: Sequence[Verdict]) -> str:
    """Return the sentence that names the prediction which came closest to failing, or the worst that did; "" if none.

    Closeness is the margin as a share of the width of what was allowed; a prediction that allows one value has none.
    """
    lost, open_ = failed(verdicts), inconclusive(verdicts)
    if lost:
        worst = max(lost, key=_excess)
        return f"The weakest is {worst.choice}: “{worst.what}” failed with {_observed(worst)}."
    shares = [(share, each) for each in verdicts if each.state == "PASS" and (share := _share(each)) is not None]
    if not shares:
        return f"The weakest is {open_[0].choice}: “{open_[0].what}” could not be judged." if open_ else ""
    share, least = min(shares, key=lambda entry: entry[0])
    return (
        f"The weakest that could be judged is {least.choice}: “{least.what}” was {_observed(least)}, where "
        f"{least.range} is allowed; that is {100 * share:.0f}% of the allowed width from its bound."
    )


def _excess(verdict: Verdict) -> float:
    """Return how far outside its range a verdict lies, as a share of the range or of its farther bound."""
    width = verdict.high - verdict.low or max(abs(verdict.high), abs(verdict.low)) or 1.0
    return -(verdict.margin or 0.0) / width


def _share(verdict: Verdict) -> float | None:
    width = verdict.high - verdict.low
    if verdict.margin is None or width <= 0 or not math.isfinite(width) or verdict.choice == "the run":
        return None
    return max(0.0, verdict.margin) / (width + 2 * (verdict.chance + verdict.noise))
