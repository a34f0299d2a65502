"""A run's summary and report, made from the records under runs/<id>/ and from nothing else.

Every figure carries its unit and, for an accuracy, the number of images behind it. What a record lacks is left out, not
guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from tasks.account.prices import PRICES_SOURCE
from tasks.checked_load import SCALING, ScalingVerdicts
from tasks.load.report import STAGE as LOADTEST
from tasks.load.report import TESTED, load_json, load_text
from tasks.parity import STAGE as PARITY
from tasks.parity import Parity, ParityRow
from tasks.run.errors import SettingsRefused
from tasks.run.records import (
    SPLITS,
    DatasetRef,
    EndpointRef,
    FunctionRef,
    InstanceModel,
    LoadReport,
    TrainedModel,
    load_record,
    write_atomically,
)
from tasks.sagemaker.kept import kept_markdown
from tasks.scaling_report import checked_rows, scaling_json, scaling_markdown
from tasks.serving.smoke import SmokeResult

REPORT = "report.md"


NO_LOAD_TEST = "None was made (`--no-loadtest`), or it failed before it left a result."


@dataclass(frozen=True)
class StageTimes:
    """How long each stage of the last command took, in seconds of wall time, and where; adopted stages are short.

    `inconclusive` says what its load test could not judge and why, "" when nothing was left open.
    """

    seconds: dict[str, float]
    where: str
    inconclusive: str = ""


@dataclass(frozen=True)
class LoadTested:
    """What a load test was made of; another deployment, rate, time, mode or traffic statement is another test."""

    config_name: str
    function_version: str
    code_sha256: str
    rate_per_second: float
    seconds: float
    endpoint_created: str = ""
    mode: str = "steady"
    traffic: Mapping[str, float] = field(default_factory=dict)
    pace: float = 1.0


@dataclass(frozen=True)
class RunSummary:
    """What a finished run comes to; `loadtest`, `ec2`, `parity` and `scaling` are None when that was not done."""

    run_id: str
    dataset: DatasetRef
    model: TrainedModel
    endpoint: EndpointRef
    function: FunctionRef
    smoke: SmokeResult
    loadtest: LoadReport | None
    times: StageTimes
    report: str
    ec2: InstanceModel | None = None
    parity: Parity | None = None
    scaling: ScalingVerdicts | None = None

    def as_json(self) -> dict[str, object]:
        """Return what `kennel run --json` prints."""
        return {
            "run_id": self.run_id,
            "test_accuracy": self.model.test_accuracy,
            "test_images": self.model.test_images,
            "classes": len(self.model.classes),
            "backbone": self.model.backbone,
            "instances": self.model.instance_count,
            "training_job": self.model.job_name,
            "model": self.model.model_uri,
            "endpoint": self.endpoint.name,
            "function": self.function.name,
            "function_alias": self.function.alias_arn,
            "ec2": None if self.ec2 is None else ec2_json(self.ec2, self.parity),
            "loadtest": load_json(self.loadtest),
            "scaling": None if self.scaling is None else scaling_json(self.scaling),
            "inconclusive": self.times.inconclusive or None,
            "seconds": self.times.seconds,
            "report": self.report,
        }


def accuracy_interval(accuracy: float, images: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of an accuracy measured on `images` images.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    z = 1.959964
    centre = (accuracy + z * z / (2 * images)) / (1 + z * z / images)
    spread = z / (1 + z * z / images) * math.sqrt(accuracy * (1 - accuracy) / images + z * z / (4 * images**2))
    return max(0.0, centre - spread), min(1.0, centre + spread)


def summarise(run_dir: Path) -> RunSummary:
    """Read a finished run's records.

    Raises:
        SettingsRefused: a stage's record is missing.
        LedgerRefused: a record cannot be read.
    """
    return RunSummary(
        run_id=run_dir.name,
        dataset=_needed(run_dir, "stage_data", DatasetRef),
        model=_needed(run_dir, "train_sagemaker", TrainedModel),
        endpoint=_needed(run_dir, "endpoint", EndpointRef),
        function=_needed(run_dir, "function", FunctionRef),
        smoke=_needed(run_dir, "smoke", SmokeResult),
        loadtest=load_record(run_dir, LOADTEST, LoadReport),
        times=_needed(run_dir, "pipeline", StageTimes),
        report=str(run_dir / REPORT),
        ec2=load_record(run_dir, "train_ec2", InstanceModel),
        parity=load_record(run_dir, PARITY, Parity),
        scaling=load_record(run_dir, SCALING, ScalingVerdicts),
    )


def forget_load_test_of_another(run_dir: Path, tested: LoadTested) -> None:
    """Drop the record of a load test of another deployment than `tested`: the report would show it as this one's."""
    kept = load_record(run_dir, TESTED, LoadTested)
    if kept is None:
        return
    same = replace(
        kept,
        config_name=tested.config_name,
        function_version=tested.function_version,
        code_sha256=tested.code_sha256,
        endpoint_created=tested.endpoint_created,
    )
    if kept != same:
        for record in (LOADTEST, TESTED, SCALING):
            (run_dir / f"{record}.json").unlink(missing_ok=True)


def summary_rows(summary: RunSummary) -> dict[str, str]:
    """Return the rows of the table that a run ends with."""
    model, data = summary.model, summary.dataset
    low, high = accuracy_interval(model.test_accuracy, model.test_images)
    rows = {
        "run": summary.run_id,
        "data": f"{data.name}: {data.images():,} images, {len(data.classes)} classes, {data.quarantined} quarantined",
        "model": f"{model.backbone}, {model.instance_count} × {model.instance_type}, {model.seconds:.1f} s",
        "test accuracy": f"{model.test_accuracy:.4f} on {model.test_images} images (95 %: {low:.3f} to {high:.3f})",
        "endpoint": f"{summary.endpoint.name} ({summary.endpoint.instance_count} × {summary.endpoint.instance_type})",
        "function": f"{summary.function.name}:{summary.function.alias} (version {summary.function.version})",
        "smoke test": f"{summary.smoke.predicted_label} for {summary.smoke.true_label}, {summary.smoke.latency_ms} ms",
    }
    if model.cost_usd is not None:
        rows["training cost"] = f"about {model.cost_usd:.4f} USD at AWS's list price for that time"
    if summary.ec2 is not None:
        rows |= ec2_rows(summary.ec2, summary.parity)
    if summary.loadtest is not None:
        rows["load test"] = load_text(summary.loadtest)
    if summary.scaling is not None:
        rows |= checked_rows(summary.scaling)
    if summary.times.inconclusive:
        rows["inconclusive"] = summary.times.inconclusive
    times = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in summary.times.seconds.items())
    return rows | {"this command": times, "measured on": summary.times.where, "report": summary.report}


def ec2_rows(model: InstanceModel, parity: Parity | None) -> dict[str, str]:
    """Return the rows of a training on EC2, and how it compares with SageMaker's where there is one."""
    low, high = accuracy_interval(model.test_accuracy, model.test_images)
    market = "spot" if model.spot else "on-demand"
    accuracy = f"{model.test_accuracy:.4f} on {model.test_images} images (95 %: {low:.3f} to {high:.3f})"
    machines = f"{model.instance_count} × {model.instance_type} {market}"
    rows = {
        "EC2 over SSH": f"{machines}, {model.wall_seconds:.1f} s, {model.interruptions} interruptions",
        "EC2 test accuracy": accuracy,
    }
    if model.cost_usd is not None:
        rows["EC2 cost"] = f"about {model.cost_usd:.4f} USD for {model.billable_seconds:.0f} billable s, an estimate"
    return rows if parity is None else rows | {"EC2, SageMaker": parity.verdict}


def ec2_json(model: InstanceModel, parity: Parity | None) -> dict[str, object]:
    """Return what `--json` prints of a training on EC2."""
    return {
        "test_accuracy": model.test_accuracy,
        "test_images": model.test_images,
        "instances": model.instance_count,
        "instance_type": model.instance_type,
        "instance_ids": list(model.instance_ids),
        "spot": model.spot,
        "interruptions": model.interruptions,
        "model": model.model_uri,
        "seconds": dict(model.seconds),
        "wall_seconds": model.wall_seconds,
        "largest_difference_from_sagemaker": None if parity is None else parity.largest_difference,
        "parity": None if parity is None else asdict(parity),
    }


def write_report(summary: RunSummary) -> Path:
    """Write runs/<id>/report.md and return its path; what lies beside it is named relative to it."""
    path = Path(summary.report)
    rows = {name: value for name, value in summary_rows(summary).items() if name != "report"}
    table = [f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in rows.items()]
    sections = [
        f"# Run {summary.run_id}",
        "",
        "Every figure comes from the JSON files beside this report.",
        "",
        "| | |",
        "|---|---|",
        *table,
        "",
        *_data_section(summary.dataset),
        *_training_section(summary.model),
        *kept_markdown(path.parent),
        *_ec2_section(summary.ec2, summary.parity),
        *_deployment_section(summary),
        *_load_section(summary),
        *([] if summary.scaling is None else [scaling_markdown(summary.scaling)]),
    ]
    write_atomically(path, (relative_to_report("\n".join(sections), path.parent) + "\n").encode())
    return path


def relative_to_report(markdown: str, folder: Path) -> str:
    """Return Markdown whose links and code spans name files of a run's folder relative to it, which may then move."""
    for prefix in {str(folder.absolute()), str(folder.resolve()), str(folder)}:
        for opening in ("](", "`"):
            markdown = markdown.replace(f"{opening}{prefix}/", opening)
    return markdown


def _data_section(data: DatasetRef) -> list[str]:
    rows = [f"| {split} | {data.images(split):,} | {data.shards.get(split, '')} |" for split in SPLITS]
    return [
        "## Data",
        "",
        f"`{data.uri}`, digest `{data.digest}`, {data.size_bytes / 1e6:.1f} MB, source: {data.source}.",
        "",
        "| split | images | shards |",
        "|---|---|---|",
        *rows,
        "",
    ]


def _training_section(model: TrainedModel) -> list[str]:
    metrics = [f"| {name} | {value:g} |" for name, value in sorted(model.metrics.items())]
    cost = "" if model.cost_usd is None else f", about {model.cost_usd:.4f} USD ({PRICES_SOURCE})"
    return [
        "## Training",
        "",
        f"Job `{model.job_name}` on {model.instance_count} × {model.instance_type}"
        f"{' (spot)' if model.spot else ''}: {model.instance_reason}.",
        f"{model.seconds:.1f} s from creation to end, {model.billable_seconds:.0f} s billable{cost}.",
        f"Model `{model.model_uri}`, data digest `{model.data_digest}`, commit `{model.git_commit or 'unknown'}`.",
        "",
        "| metric | value |",
        "|---|---|",
        *metrics,
        "",
    ]


def _ec2_section(model: InstanceModel | None, parity: Parity | None) -> list[str]:
    if model is None:
        return []
    names = ", ".join(f"`{name}`" for name in model.instance_ids)
    refused = f" Refused before: {'; '.join(model.refused)}." if model.refused else ""
    lines = [
        "## Training on EC2 over SSH",
        "",
        f"Job `{model.name}` on {names}: {model.instance_reason}.{refused}",
        f"Prices: {model.prices}.",
        f"Model `{model.model_uri}`, sha256 `{model.model_sha256}`.",
        f"Command: `{' '.join(model.command)}`",
        "",
    ]
    return lines if parity is None else [*lines, *_parity_lines(parity)]


def _parity_lines(parity: Parity) -> list[str]:
    return [
        f"Against job `{parity.training_job}`: {parity.verdict}.",
        "",
        *_side_by_side("measured", parity.figures),
        *_side_by_side("what replaces what", parity.environment),
    ]


def _side_by_side(title: str, rows: tuple[ParityRow, ...]) -> list[str]:
    head = [f"| {title} | SageMaker | EC2 |", "|---|---|---|"]
    return [*head, *(f"| {row.what} | {row.sagemaker} | {row.ec2} |" for row in rows), ""]


def _deployment_section(summary: RunSummary) -> list[str]:
    endpoint, function, smoke = summary.endpoint, summary.function, summary.smoke
    return [
        "## Deployment",
        "",
        f"Endpoint `{endpoint.name}`: configuration `{endpoint.config_name}`, {endpoint.instance_count} × "
        f"{endpoint.instance_type}, in service after {endpoint.seconds:.1f} s.",
        f"Function `{function.name}`, version {function.version}, alias `{function.alias}`, code sha256 "
        f"`{function.code_sha256}`, role `{function.role_name}`.",
        f"Smoke test through the alias: image `{smoke.image}` of class {smoke.true_label} was called "
        f"{smoke.predicted_label} with probability {smoke.score:.4f}; {smoke.labels} labels; {smoke.latency_ms} ms.",
        "",
    ]


def _load_section(summary: RunSummary) -> list[str]:
    steady = {} if summary.loadtest is None else {"Load test": summary.loadtest}
    checked = {} if summary.scaling is None else summary.scaling.reports
    told = steady | {f"Checked load test, {way}": load for way, load in checked.items()}
    if not told:
        return ["## Load test", "", summary.times.inconclusive or NO_LOAD_TEST, ""]
    return [
        line for title, load in told.items() for line in (f"## {title}", "", load_text(load), "", *_files(load), "")
    ]


def _files(load: LoadReport) -> list[str]:
    return [f"- {name}: [{Path(path).name}]({path})" for name, path in load.files.items()]


Record = TypeVar("Record")


def _needed(run_dir: Path, stage: str, kind: type[Record]) -> Record:
    record = load_record(run_dir, stage, kind)
    if record is None:
        raise SettingsRefused("report", f"run {run_dir.name}", f"it has no record of {stage}", "kennel run")
    return record
