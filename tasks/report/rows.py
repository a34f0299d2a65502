"""Turns a run's summary into the rows of a table and into the JSON that the command prints.

Every figure has its unit, and an accuracy the number of images behind it.
"""

from __future__ import annotations

from dataclasses import asdict

from tasks.data.report import dataset_json, finding_rows
from tasks.load.report import load_json, load_text
from tasks.report.parity import Parity
from tasks.report.summary import RunSummary, accuracy_interval
from tasks.run.records import (
    InstanceModel,
)
from tasks.verdicts.report import checked_rows, scaling_json


def summary_rows(summary: RunSummary) -> dict[str, str]:
    """Return the rows of the table that a run prints last."""
    model, data = summary.model, summary.dataset
    low, high = accuracy_interval(model.test_accuracy, model.test_images)
    rows = {
        "run": summary.run_id,
        "data": f"{data.name}: {data.images():,} images, {len(data.classes)} classes, {data.quarantined} quarantined",
        **finding_rows(data),
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
    """Return the rows of a training on EC2, with its comparison to the training on SageMaker if there is one."""
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


def summary_json(summary: RunSummary) -> dict[str, object]:
    """Return the JSON content that `kennel run --json` prints."""
    return {
        "run_id": summary.run_id,
        "test_accuracy": summary.model.test_accuracy,
        "test_images": summary.model.test_images,
        "classes": len(summary.model.classes),
        "data": dataset_json(summary.dataset),
        "backbone": summary.model.backbone,
        "instances": summary.model.instance_count,
        "training_job": summary.model.job_name,
        "model": summary.model.model_uri,
        "endpoint": summary.endpoint.name,
        "function": summary.function.name,
        "function_alias": summary.function.alias_arn,
        "ec2": None if summary.ec2 is None else ec2_json(summary.ec2, summary.parity),
        "loadtest": load_json(summary.loadtest),
        "scaling": None if summary.scaling is None else scaling_json(summary.scaling),
        "inconclusive": summary.times.inconclusive or None,
        "seconds": summary.times.seconds,
        "report": summary.report,
    }


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
