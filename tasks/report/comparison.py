"""Puts two runs side by side: what was chosen otherwise, how the models differ on the same photos, cost, latency."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from tasks.evaluation.kept import evaluation_of
from tasks.evaluation.predictions import FILE, Predictions, kept_predictions
from tasks.evaluation.record import Evaluation
from tasks.gate.decision import Decision, Rules, judge
from tasks.report.run_list import ListedRun, listed_run
from tasks.report.summary import RunSummary, accuracy_text, summarise
from tasks.run.errors import StageFailed
from tasks.run.handle import RunFolder


@dataclass(frozen=True)
class ComparedRow:
    """A row of the comparison: what, and the value in each run; "" where a run has none."""

    what: str
    first: str
    second: str


@dataclass(frozen=True)
class Comparison:
    """Two runs: the settings that differ, the figures, and what the gate says of their models on the same photos.

    `decision` is None where `why_unpaired` says why.
    """

    runs: tuple[str, str]
    settings: tuple[ComparedRow, ...]
    figures: tuple[ComparedRow, ...]
    decision: Decision | None
    why_unpaired: str
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """What the paired test says, in a sentence."""
        if self.decision is None:
            return f"The two models cannot be compared photo by photo: {self.why_unpaired}."
        found, (first, second) = self.decision.paired, self.runs
        if not found.only_first + found.only_second:
            return f"On the same {found.photos} photos both models are right about the same ones. {self._sure}"
        by = f"{found.accuracy.value:+.4f} (95 %: {found.accuracy.low:+.4f} to {found.accuracy.high:+.4f})"
        apart = f"{found.only_second} photos only {second} has right, {found.only_first} only {first}"
        test = f"p = {found.p_value:.3g} (two-sided)"
        return f"On the same {found.photos} photos {second} differs by {by}: {apart}; {test}. {self._sure}"

    @property
    def _sure(self) -> str:
        """What the gate makes of it, and how surely so many photos show a difference that matters."""
        if self.decision is None:
            return ""
        found, rules = self.decision, Rules()
        needed = "more than a million" if found.photos_needed is None else f"{found.photos_needed:,}"
        shows = f"{found.paired.photos} photos show a gain of {rules.gain:g} in {100 * found.power:.0f} of 100 cases"
        broken = [each.text for each in found.rules if not each.is_kept]
        lost = f" It would be refused all the same: {'; '.join(broken)}." if broken else ""
        return f"{self.runs[1]}: {found.verdict}. {shows}; for 80 of 100 it takes {needed} photos.{lost}"


def compare_runs(first: RunFolder, second: RunFolder) -> Comparison:
    """Compare two runs by their records and predictions; what is missing becomes a note."""
    summaries = (summarise(first), summarise(second))
    kept = [evaluation_of(run, each.model) for run, each in zip((first, second), summaries, strict=True)]
    found = [evaluation for evaluation, _ in kept]
    decision, why = _judged((first, second), summaries, kept)
    return Comparison(
        runs=(first.id, second.id),
        settings=tuple(_settings(summaries, found)),
        figures=tuple(_figures((listed_run(first, summaries[0]), listed_run(second, summaries[1])), summaries, found)),
        decision=decision,
        why_unpaired=why,
        notes=(*_unread(summaries), *_without_settings((first, second), kept)),
    )


def comparison_json(comparison: Comparison) -> dict[str, object]:
    """Return the JSON content that `kennel compare --json` prints."""
    rows = {name: [asdict(row) for row in getattr(comparison, name)] for name in ("settings", "figures")}
    decision = comparison.decision
    return {
        "runs": list(comparison.runs),
        **rows,
        "paired": None if decision is None else asdict(decision.paired),
        "gate": None if decision is None else _gate_json(decision),
        "verdict": comparison.verdict,
        "notes": list(comparison.notes),
    }


def _gate_json(decision: Decision) -> dict[str, object]:
    return {
        "verdict": decision.verdict,
        "low": decision.low,
        "high": decision.high,
        "power": decision.power,
        "photos_needed": decision.photos_needed,
        "rules": [{**asdict(each), "kept": each.is_kept} for each in decision.rules],
    }


def _judged(
    runs: tuple[RunFolder, RunFolder],
    summaries: tuple[RunSummary, RunSummary],
    kept: list[tuple[Evaluation | None, str]],
) -> tuple[Decision | None, str]:
    """Return what the gate says of the second model, or why it says nothing."""
    predictions: list[Predictions] = []
    classes: tuple[str, ...] = ()
    for run, summary, (evaluation, why) in zip(runs, summaries, kept, strict=True):
        if evaluation is None or summary.dataset is None:
            return None, f"of {run.id} there is no evaluation: {why or 'its dataset is not known'}"
        if evaluation.data_digest != summary.dataset.digest:
            return None, f"the data of {run.id} were staged anew after its model was evaluated"
        path, classes = run.folder / evaluation.folder / FILE, summary.dataset.classes
        try:
            predictions.append(kept_predictions(path, summary.dataset, evaluation.right))
        except StageFailed as error:
            return None, f"{error.what}: {error.why}"
    if len({evaluation.data_digest for evaluation, _ in kept if evaluation is not None}) > 1:
        return None, "they were trained and tested on different data"
    try:
        champion, challenger = predictions
        return judge(champion, challenger, classes), ""
    except ValueError as error:
        return None, str(error)


def _unread(summaries: tuple[RunSummary, RunSummary]) -> Iterator[str]:
    yield from (f"run {each.run_id}: {note}" for each in summaries for note in each.notes)


def _without_settings(runs: tuple[RunFolder, RunFolder], kept: list[tuple[Evaluation | None, str]]) -> Iterator[str]:
    for run, (evaluation, why) in zip(runs, kept, strict=True):
        if evaluation is None or not evaluation.settings:
            reason = why or "its evaluation has none"
            yield f"run {run.id}: its hyperparameters are not known ({reason}), so none are compared"


def _settings(summaries: tuple[RunSummary, RunSummary], found: list[Evaluation | None]) -> Iterator[ComparedRow]:
    """Yield what was chosen otherwise: data, machines, hyperparameters, versions."""
    both = all(evaluation is not None and evaluation.settings for evaluation in found)
    kept = found if both else [None, None]  # of one alone they would all be told as different
    chosen = [_chosen(summary, evaluation) for summary, evaluation in zip(summaries, kept, strict=True)]
    for name in {**chosen[0], **chosen[1]}:
        first, second = (each.get(name, "") for each in chosen)
        if first != second:
            yield ComparedRow(name, first, second)


def _chosen(summary: RunSummary, evaluation: Evaluation | None) -> dict[str, str]:
    data, model, endpoint = summary.dataset, summary.model, summary.endpoint
    found = {
        "data": data and f"{data.name}, {data.images():,} photos, digest {data.digest[:12]}",
        "backbone": model and model.backbone,
        "training": model and f"{model.instance_count} × {model.instance_type}{', spot' if model.spot else ''}",
        "endpoint": endpoint and f"{endpoint.instance_count} × {endpoint.instance_type}",
        "commit": model and model.git_commit,
    }
    settings = {} if evaluation is None else evaluation.settings
    versions = {} if evaluation is None else evaluation.versions
    return {
        **{name: value for name, value in found.items() if value},
        **{name: value for name, value in settings.items() if name != "backbone"},
        **{f"version of {name}": value for name, value in versions.items()},
    }


def _figures(
    listed: tuple[ListedRun, ListedRun], summaries: tuple[RunSummary, RunSummary], found: list[Evaluation | None]
) -> Iterator[ComparedRow]:
    columns = [_figures_of(*each) for each in zip(listed, summaries, found, strict=True)]
    for name in columns[0]:
        if columns[0][name] or columns[1][name]:
            yield ComparedRow(name, columns[0][name], columns[1][name])


def _figures_of(listed: ListedRun, summary: RunSummary, found: Evaluation | None) -> dict[str, str]:
    model, plan = summary.model or summary.ec2, None if summary.scaling is None else summary.scaling.plan
    monthly = None if plan is None else plan.monthly_cost_usd
    return {
        "test accuracy": "" if model is None else accuracy_text(model.test_accuracy, model.test_images),
        "log loss": "" if found is None else f"{found.log_loss:.4f}",
        "calibration error": "" if found is None else f"{found.calibration_error:.3f}",
        "training": _with_unit(listed.seconds, ".1f", "s"),
        "training cost": _with_unit(listed.cost_usd, ".4f", "USD"),
        "serving, a month": _with_unit(monthly, ",.2f", "USD"),
        "p95": _with_unit(listed.p95_ms, ".1f", "ms"),
        "verdicts": "" if listed.verdicts is None else ", ".join(f"{n} {name}" for name, n in listed.verdicts.items()),
        "permissions": _permissions(summary),
    }


def _permissions(summary: RunSummary) -> str:
    if summary.permissions is None:
        return ""
    rows = summary.permissions.rows
    unused = sum(row.state == "unused" for row in rows)
    return f"{len(rows)} actions of {len({row.role for row in rows})} roles, {unused} unused"


def _with_unit(value: float | None, form: str, unit: str) -> str:
    return "" if value is None else f"{value:{form}} {unit}"
