"""A run's summary, read from the records under runs/<id>/ and from nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from tasks.load.report import STAGE as LOADTEST
from tasks.load.report import TESTED
from tasks.report.parity import STAGE as PARITY
from tasks.report.parity import Parity
from tasks.run.errors import SettingsRefused
from tasks.run.records import (
    DatasetRef,
    EndpointRef,
    FunctionRef,
    InstanceModel,
    LoadReport,
    TrainedModel,
    load_record,
)
from tasks.serving.smoke import SmokeResult
from tasks.verdicts.check import SCALING, ScalingVerdicts

REPORT = "report.md"
Record = TypeVar("Record")


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


def _needed(run_dir: Path, stage: str, kind: type[Record]) -> Record:
    record = load_record(run_dir, stage, kind)
    if record is None:
        raise SettingsRefused("report", f"run {run_dir.name}", f"it has no record of {stage}", "kennel run")
    return record
