"""Makes the sections of a run's page, in the order in which a person asks: cost, stages, data, quality, evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from tasks.evaluation.record import Evaluation
from tasks.evidence.record import Evidence
from tasks.page.charts import confusion_matrix, learning_curve, reliability_bars
from tasks.page.headline import weakest
from tasks.page.pictures import png_uri, thumbnail_uri
from tasks.page.rendering import markdown_html, rendered
from tasks.report.running_cost import LiveResources, total_cost
from tasks.report.search_cost import SearchCost
from tasks.report.summary import RunSummary, accuracy_interval, accuracy_text
from tasks.run.handle import RunFolder
from tasks.run.ledger_contents import LedgerRow
from tasks.run.records import SPLITS, DatasetRef, InstanceModel, TrainedModel
from tasks.scaling.choice import Choice, format_amount
from tasks.scaling.prices import HOURS_A_MONTH
from tasks.verdicts.check import ScalingVerdicts
from tasks.verdicts.report import scaling_markdown

MOST_PAIRS = 15
FEW_PHOTOS = 20
_NOT_BILLED = "On the embedded AWS nothing is billed: there these say what the same would cost on AWS."
_STAGES = {
    "stage_data": "stage the data",
    "train_sagemaker": "train on SageMaker",
    "train_ec2": "train on EC2 over SSH",
    "deploy": "deploy",
    "loadtest": "load-test",
}


def cost(summary: RunSummary, alive: Sequence[LiveResources] | None) -> Markup:
    """Return what the run cost, what serving costs by the hour and by the month, and what was left running.

    `alive`: by kind; None when the ledger is damaged.
    """
    by_hour = [each for each in alive or () if each.cost.most != 0]
    others = [f"{len(each.names)} × {each.kind}" for each in alive or () if each not in by_hour]
    return rendered(
        "cost.html.j2",
        serving=_serving(summary),
        trainings=_trainings(summary),
        basis=_basis(summary),
        billed=[(", ".join(each.names), each.kind, each.cost.text, each.cost.basis) for each in by_hour],
        others=", ".join(others),
        total=total_cost(alive).text if alive and by_hour else "",
        is_known=alive is not None,
        removal=f"kennel down {summary.run_id} --yes",
    )


def _serving(summary: RunSummary) -> dict[str, str] | None:
    if summary.scaling is None:
        return None
    usd, traffic = summary.scaling.plan.monthly_cost_usd, summary.scaling.plan.traffic
    if usd is None:
        return {"month": "unknown", "hour": "unknown", "note": "a price is not known"}
    note = f"at {traffic.baseline_rps:g} to {traffic.peak_rps:g} requests/s"
    return {"month": f"{usd:,.2f} USD", "hour": f"{usd / HOURS_A_MONTH:.3f} USD", "note": note}


def _trainings(summary: RunSummary) -> list[dict[str, str]]:
    found = []
    for name, model in (("training on SageMaker", summary.model), ("training on EC2", summary.ec2)):
        if model is not None:
            usd = "unknown" if model.cost_usd is None else f"{model.cost_usd:.4f} USD"
            note = f"{model.instance_count} × {model.instance_type}{', spot' if model.spot else ''}"
            note += f"; {model.prices}" if isinstance(model, InstanceModel) else ""
            found.append({"name": name, "usd": usd, "note": note})
    return [*found, *_tuner(summary.model)]


def _tuner(model: TrainedModel | None) -> list[dict[str, str]]:
    """Return the cost of SageMaker's tuner's own jobs; a search in one job is part of that job's cost."""
    if model is None or model.search is None or not model.search_billable_seconds:
        return []
    search = SearchCost.of(model, model.search)
    usd = "unknown" if search.jobs_usd is None else f"{search.jobs_usd:.4f} USD"
    note = f"{search.jobs} jobs of SageMaker's tuner, {search.jobs_billed_seconds:,.0f} s billed"
    return [{"name": "search", "usd": usd, "note": note}]


def _basis(summary: RunSummary) -> str:
    if summary.scaling is None:
        return f"These are AWS's list prices for what AWS would bill. {_NOT_BILLED}"
    return f"Prices: {summary.scaling.plan.prices}. {_NOT_BILLED}"


def pipeline(summary: RunSummary) -> Markup | None:
    """Return the stages of the last command with their times; None when no command recorded them."""
    if summary.times is None:
        return None
    seconds = summary.times.seconds
    total = sum(seconds.values()) or 1.0
    results = _results(summary)
    stages = [
        {
            "name": _STAGES.get(stage, stage),
            "seconds": f"{took:.1f}",
            "percent": f"{100 * took / total:.1f}",
            "result": results.get(stage, ""),
        }
        for stage, took in seconds.items()
    ]
    return rendered("pipeline.html.j2", stages=stages, total=f"{total:.1f}", where=summary.times.where)


def _results(summary: RunSummary) -> dict[str, str]:
    data, model, ec2, endpoint = summary.dataset, summary.model, summary.ec2, summary.endpoint
    found = {
        "stage_data": data and f"{data.images():,} photos of {len(data.classes)} classes in shards",
        "train_sagemaker": model and f"{model.backbone} on {model.instance_count} × {model.instance_type}",
        "train_ec2": ec2 and f"{ec2.backbone} on {ec2.instance_count} × {ec2.instance_type}",
        "deploy": endpoint and f"endpoint {endpoint.name}",
        "loadtest": summary.scaling and f"{len(summary.scaling.verdicts)} predictions judged",
    }
    return {stage: text for stage, text in found.items() if text}


def data(dataset: DatasetRef | None) -> Markup | None:
    """Return what was staged and what was left out; None without a dataset."""
    if dataset is None:
        return None
    left_out = [(item.name, item.reason) for item in dataset.left_out]
    return rendered(
        "data.html.j2",
        images=f"{dataset.images():,}",
        size=f"{dataset.size_bytes / 1e6:,.1f} MB",
        splits=[(split, f"{dataset.images(split):,}") for split in SPLITS if split in dataset.counts],
        classes=str(len(dataset.classes)),
        quarantined=f"{dataset.quarantined:,}",
        source=dataset.source,
        digest=dataset.digest,
        notes=dataset.notes,
        warnings=dataset.warnings,
        left_out=left_out,
        more=max(0, dataset.quarantined - len(left_out)),
    )


def curve(evaluation: Evaluation | None, best_epoch: float | None) -> Markup | None:
    """Return the learning curve of each stage of the training; None without one."""
    if evaluation is None:
        return None
    last = list(evaluation.curves)[-1] if evaluation.curves else None
    charts = [
        (stage, chart)
        for stage, points in evaluation.curves.items()
        if (chart := learning_curve(points, int(best_epoch or 0) if stage == last else None)) is not None
    ]
    return rendered("curve.html.j2", charts=charts) if charts else None


def accuracy(model: TrainedModel | None, evaluation: Evaluation | None, why: str) -> Markup | None:
    """Return how good the model is and how sure that is, what it confuses, each class, and its calibration.

    `why`: the reason for having no evaluation.
    """
    if model is None:
        return None
    if evaluation is None or not evaluation.images:
        known = f"Test accuracy {accuracy_text(model.test_accuracy, model.test_images)}."
        return Markup("<p>{} {}</p>").format(known, f"No more is known: {why}.")
    low, high = accuracy_interval(evaluation.right / evaluation.images, evaluation.images)
    rest = evaluation.confusions[MOST_PAIRS:]
    return rendered(
        "accuracy.html.j2",
        accuracy=f"{evaluation.right / evaluation.images:.4f}",
        interval=f"95 % interval: {low:.3f} to {high:.3f}",
        validation=_validation(model),
        most_taken=_most_taken(evaluation),
        right=f"{evaluation.right:,} of {evaluation.images:,}",
        log_loss=f"{evaluation.log_loss:.4f}",
        calibration=f"{evaluation.calibration_error:.3f}",
        few=_few(evaluation),
        pairs=[(each.true, each.predicted, each.images) for each in evaluation.confusions[:MOST_PAIRS]],
        more_pairs=f"And {len(rest)} pairs more, {sum(each.images for each in rest)} photos." if rest else "",
        matrix=confusion_matrix(evaluation.confusions, {each.name: each.right for each in evaluation.classes}),
        classes=_class_rows(evaluation),
        bars=reliability_bars(evaluation.reliability),
        reliability_text=f"Expected calibration error {evaluation.calibration_error:.3f} on {evaluation.images} photos",
    )


def _validation(model: TrainedModel) -> str:
    accuracy = model.metrics.get("validation_accuracy")
    return "unknown" if accuracy is None else f"{accuracy:.4f}"


def _most_taken(evaluation: Evaluation) -> str:
    """Return the class that the most mistakes were taken for."""
    taken: Counter[str] = Counter()
    for each in evaluation.confusions:
        taken[each.predicted] += each.images
    ((name, images),) = taken.most_common(1) or [("", 0)]
    return f"Of {taken.total()} mistakes {images} were taken for {name}." if images else ""


def _few(evaluation: Evaluation) -> str:
    """Return a warning when classes have so few test photos that their own accuracies say little."""
    few = sum(each.images < FEW_PHOTOS for each in evaluation.classes)
    if not few:
        return ""
    which = f"{few} of {len(evaluation.classes)} classes have fewer than {FEW_PHOTOS} test photos"
    return f"{which}: their own accuracies are uncertain."


def _class_rows(evaluation: Evaluation) -> list[dict[str, str]]:
    rows = []
    for each in sorted(evaluation.classes, key=lambda one: (one.right / max(1, one.images), one.name)):
        low, high = accuracy_interval(each.right / each.images, each.images) if each.images else (0.0, 1.0)
        precision = f"{each.right / each.predicted:.2f}" if each.predicted else "none predicted"
        rows.append(
            {
                "name": each.name,
                "right": str(each.right),
                "images": str(each.images),
                "percent": f"{100 * each.right / max(1, each.images):.1f}",
                "interval": f"{low:.2f} to {high:.2f}",
                "precision": precision,
            }
        )
    return rows


def mistakes(evaluation: Evaluation | None, folder: Path) -> Markup | None:
    """Return the photos that the model was most wrong about; None without an evaluation."""
    if evaluation is None:
        return None
    wrong = evaluation.images - evaluation.right
    if not wrong:
        return rendered("mistakes.html.j2", text="There is none: every photo of the test split is right.", photos=[])
    photos = [
        {
            "picture": thumbnail_uri(folder / each.file) if each.file else None,
            "true": each.true,
            "predicted": each.predicted,
            "predicted_score": f"{each.predicted_score:.2f}",
            "true_score": f"{each.true_score:.2f}",
            "name": Path(each.name).name or each.image,
        }
        for each in evaluation.hard
    ]
    which = f"All {wrong} mistakes" if wrong == len(photos) else f"Of {wrong} mistakes these {len(photos)}"
    text = f"{which}, those first that gave the true class the lowest score."
    return rendered("mistakes.html.j2", text=text, photos=photos)


def scaling(result: ScalingVerdicts | None, run: RunFolder) -> Markup | None:
    """Return each number of the plan as a sentence, the weakest one, the load profile, and the verdicts."""
    if result is None:
        return None
    pictures = [(way, uri) for way, path in result.pictures.items() if (uri := png_uri(run.folder / run.inside(path)))]
    return rendered(
        "scaling.html.j2",
        weakest=weakest(result.verdicts),
        setting=_setting(result),
        warnings=[text[:1].upper() + text[1:].rstrip(".") + "." for text in result.plan.warnings],
        choices=[_choice(each, result) for each in result.plan.choices],
        pictures=pictures,
        details=markdown_html(_without_pictures(scaling_markdown(result))),
    )


def _setting(result: ScalingVerdicts) -> str:
    """Return a warning where the figures are those of the embedded AWS's own clock and capacity, "" elsewhere."""
    scale = result.plan.measured.time_scale
    if scale == 1:
        return ""
    return (
        f"These numbers are for {result.hardware}. There an instance is a process, and what is counted by "
        f"the minute contains the time scale of {scale:g}: measure on AWS before you use them there."
    )


def _without_pictures(markdown: str) -> list[str]:
    return [line for line in markdown.splitlines()[1:] if not line.startswith("!")]


def _choice(choice: Choice, result: ScalingVerdicts) -> dict[str, str]:
    verdicts = [each for each in result.verdicts if each.choice == choice.name]
    passed = sum(each.passed for each in verdicts)
    judged = f"{passed} of {len(verdicts)} predictions held." if verdicts else "No prediction of it was judged."
    return {
        "name": choice.name,
        "value": format_amount(choice.value, choice.unit),
        "reason": choice.reason,
        "verdict": judged,
    }


def resources(summary: RunSummary, rows: Sequence[LedgerRow]) -> Markup | None:
    """Return everything that the run made, with its ARN and state; None without a ledger."""
    if not rows:
        return None
    live = sum(row.is_live for row in rows)
    return rendered(
        "resources.html.j2",
        text=f"The ledger has {len(rows)} resources, of which {live} may exist.",
        removal=f"kennel down {summary.run_id} --yes",
        rows=[(row.kind, row.name, row.state, row.identifier or "") for row in rows],
    )


def evidence(kept: Evidence | None) -> Markup | None:
    """Return links to the screens, and what AWS answered about what the run made; None without evidence."""
    if kept is None:
        return None
    rows = [
        (each.kind, each.name, each.call, "; ".join(f"{name}: {value}" for name, value in each.facts.items()))
        for each in kept.described
    ]
    return rendered("evidence.html.j2", screens=kept.screens, notes=kept.notes, taken=kept.taken, rows=rows)


def provenance(summary: RunSummary, evaluation: Evaluation | None) -> Markup:
    """Return what the model came from: commit, data, weights' archive, versions, machine."""
    model, dataset, times = summary.model, summary.dataset, summary.times
    rows = [
        ("commit", model and (model.git_commit or "unknown")),
        ("data", dataset and f"{dataset.uri}, digest {dataset.digest}"),
        ("model", model and model.model_uri),
        ("sha256 of the model", evaluation and evaluation.model_sha256),
        ("training job", model and model.job_arn),
        *((f"version of {name}", version) for name, version in (evaluation.versions if evaluation else {}).items()),
        ("sha256 of requirements.lock", times and times.lock_sha256),
        ("measured on", times and times.where),
    ]
    return rendered("provenance.html.j2", rows=[(name, value) for name, value in rows if value])
