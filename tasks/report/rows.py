"""Turns a run's summary into the rows of a table and into the JSON that the command prints.

Every figure has its unit, and an accuracy the number of images behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

from tasks.audit.findings import KINDS
from tasks.data.report import dataset_json, finding_rows
from tasks.load.report import load_json, load_text
from tasks.report.notes import made_or_note
from tasks.report.parity import Parity
from tasks.report.search import search_json, search_rows, trial_rows
from tasks.report.summary import RunSummary, StageTimes, accuracy_text
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, InstanceModel, TrainedModel
from tasks.serving.public_url import NONE, who_may_call
from tasks.serving.smoke import SmokeResult
from tasks.verdicts.report import checked_rows, scaling_json

PUBLIC_URL = "function-url-public"
NOT_RECORDED = "there is no record of it"
Kept = TypeVar("Kept")


def summary_rows(summary: RunSummary) -> dict[str, str]:
    """Return the rows of the table that a run prints last; a record that is missing or hostile has a note instead."""
    rows = {
        "run": summary.run_id,
        **_rows("data", summary.dataset, _data_rows),
        **_rows("model", summary.model, _model_rows),
        **({} if summary.search is None else _rows("search", summary.model, search_rows)),
        **_rows("endpoint", summary.endpoint, lambda it: {"endpoint": f"{it.name} ({_machines(it)})"}),
        **_rows("function", summary.function, _function_rows),
        **_rows("smoke test", summary.smoke, _smoke_rows),
    }
    if summary.ec2 is not None:
        rows |= _rows("EC2 over SSH", summary.ec2, lambda model: ec2_rows(model, summary.parity))
    if summary.loadtest is not None:
        rows |= _rows("load test", summary.loadtest, lambda load: {"load test": load_text(load)})
    if summary.scaling is not None:
        rows |= _rows("scaling", summary.scaling, checked_rows)
    if summary.inconclusive:
        rows["inconclusive"] = summary.inconclusive
    rows |= {f"note {number}": note for number, note in enumerate(summary.notes, 1)}
    return rows | _rows("this command", summary.times, _time_rows) | {"report": summary.report}


def _rows(name: str, record: Kept | None, make: Callable[[Kept], dict[str, str]]) -> dict[str, str]:
    """Return the rows of a record, or one row that says why there are none."""
    if record is None:
        return {name: NOT_RECORDED}
    return made_or_note(lambda: make(record), lambda why: {name: why})


def _function_rows(function: FunctionRef) -> dict[str, str]:
    """Return the function's rows; one about a URL that is open to anybody names what the audit says of it."""
    rows = {"function": f"{function.name}:{function.alias} (version {function.version})"}
    if function.url is None:
        return rows
    told = f"; kennel audit tells it as {PUBLIC_URL} ({KINDS[PUBLIC_URL].severity})"
    callers = who_may_call(function.url_auth_type) + (told if function.url_auth_type == NONE else "")
    return {**rows, "function URL": f"{function.url}, {callers}"}


def _data_rows(data: DatasetRef) -> dict[str, str]:
    text = f"{data.name}: {data.images():,} images, {len(data.classes)} classes, {data.quarantined} quarantined"
    return {"data": text, **finding_rows(data)}


def _model_rows(model: TrainedModel) -> dict[str, str]:
    rows = {
        "model": f"{model.backbone}, {_machines(model)}, {model.seconds:.1f} s",
        "test accuracy": accuracy_text(model.test_accuracy, model.test_images),
    }
    rows["training cost"] = _about(model.cost_usd, "at AWS's list price for that time")
    return rows


def _about(usd: float | None, basis: str) -> str:
    return "unknown: its price is not known" if usd is None else f"about {usd:.4f} USD {basis}"


def _machines(used: TrainedModel | EndpointRef) -> str:
    return f"{used.instance_count} × {used.instance_type}"


def _smoke_rows(smoke: SmokeResult) -> dict[str, str]:
    return {"smoke test": f"{smoke.predicted_label} for {smoke.true_label}, {smoke.latency_ms} ms"}


def _time_rows(times: StageTimes) -> dict[str, str]:
    seconds = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in times.seconds.items())
    return {"this command": seconds, "measured on": times.where}


def ec2_rows(model: InstanceModel, parity: Parity | None) -> dict[str, str]:
    """Return the rows of a training on EC2, with its comparison to the training on SageMaker if there is one."""
    market = "spot" if model.spot else "on-demand"
    machines = f"{model.instance_count} × {model.instance_type} {market}"
    rows = {
        "EC2 over SSH": f"{machines}, {model.wall_seconds:.1f} s, {model.interruptions} interruptions",
        "EC2 test accuracy": accuracy_text(model.test_accuracy, model.test_images),
    }
    rows["EC2 cost"] = _about(model.cost_usd, f"for {model.billable_seconds:.0f} billable s, an estimate")
    return rows if parity is None else rows | {"EC2, SageMaker": parity.verdict}


def summary_json(summary: RunSummary) -> dict[str, object]:
    """Return the JSON content that `kennel run --json` prints; what has no record is null, and `notes` name it."""
    model, endpoint, function = summary.model, summary.endpoint, summary.function
    scaling = summary.scaling
    return {
        "run_id": summary.run_id,
        "test_accuracy": model and model.test_accuracy,
        "test_images": model and model.test_images,
        "classes": model and len(model.classes),
        "data": summary.dataset and dataset_json(summary.dataset),
        "backbone": model and model.backbone,
        "search": made_or_note(lambda: search_json(summary.model, summary.study), lambda why: {"note": why}),
        "instances": model and model.instance_count,
        "training_job": model and model.job_name,
        "model": model and model.model_uri,
        "endpoint": endpoint and endpoint.name,
        "function": function and function.name,
        "function_alias": function and function.alias_arn,
        "function_url": function and function.url,
        "function_url_auth_type": function and function.url_auth_type,
        "ec2": None if summary.ec2 is None else ec2_json(summary.ec2, summary.parity),
        "loadtest": load_json(summary.loadtest),
        "scaling": scaling and made_or_note(lambda: scaling_json(scaling), lambda why: {"note": why}),
        "inconclusive": summary.inconclusive or None,
        "seconds": summary.times and summary.times.seconds,
        "report": summary.report,
        "notes": list(summary.notes),
    }


def tuning_rows(summary: RunSummary) -> dict[str, str]:
    """Return the rows of the table that `kennel tune` prints last."""
    rows = {
        "run": summary.run_id,
        **_rows("data", summary.dataset, _data_rows),
        **_rows("model", summary.model, _model_rows),
        **_rows("search", summary.model, search_rows),
        **_rows("trials", summary.search, trial_rows),
    }
    if summary.study is not None:
        rows["picture"] = summary.study.picture or summary.study.note
    return rows


def tuning_json(summary: RunSummary) -> dict[str, object]:
    """Return the JSON content that `kennel tune --json` prints, without the commands."""
    whole = summary_json(summary)
    return {name: whole[name] for name in _TUNED}


_TUNED = ("run_id", "data", "backbone", "search", "test_accuracy", "test_images", "training_job", "model")


def ec2_json(model: InstanceModel, parity: Parity | None) -> dict[str, object]:
    """Return the JSON content that `--json` prints for a training on EC2."""
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
