"""Names flow runs by run id and stage, as Prefect's pages list them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prefect.runtime import flow_run

from tasks.run.options import DataOptions, TrainingOptions
from tasks.run.run_id import run_of, run_of_training
from tasks.run.settings import Settings

SAMPLE = "sample"
Parameters = Mapping[str, Any]


def named(stage: str, run_id: Callable[[Parameters], str]) -> Callable[[], str]:
    """Return what Prefect calls for the name of a flow run of a stage; `run_id` reads its parameters."""
    return lambda: f"{run_id(flow_run.get_parameters())} {stage}"


def trained_run(given: Parameters) -> str:
    """Return the run of a flow that stages data and trains: the one named, or that of its data and training."""
    training = TrainingOptions.model_validate(given.get("training") or {})
    options, source = DataOptions.model_validate(given.get("data_options") or {}), given.get("data") or SAMPLE
    return given.get("run_id") or run_of_training(Settings.load().runs, source, training, options)


def staged_run(given: Parameters) -> str:
    """Return the run of a flow that only stages data: the one named, or that of its data."""
    return given.get("run_id") or run_of(Settings.load().runs, given.get("source") or SAMPLE)


def named_run(given: Parameters) -> str:
    """Return the run that is named; "all-runs" for none."""
    return given.get("run_id") or "all-runs"
