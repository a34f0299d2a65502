"""Reads a run's summary, only from the records in runs/<id>/."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tasks.load.report import LoadTestIdentity
from tasks.report.parity import Parity
from tasks.run.handle import RunFolder
from tasks.run.record_store import Record
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, InstanceModel, LoadReport, TrainedModel
from tasks.serving.smoke import SmokeResult
from tasks.verdicts.check import ScalingVerdicts

REPORT = "report.md"


@dataclass(frozen=True)
class StageTimes(Record, file="pipeline.json", called="finished pipeline", made_by="pipeline"):
    """The wall time in seconds of each stage of the last command, and its machine. Adopted stages are short.

    `inconclusive` says what the load test could not judge and why; it is "" when everything was judged.
    """

    seconds: dict[str, float]
    where: str
    inconclusive: str = ""


@dataclass(frozen=True)
class RunSummary:
    """The results of a finished run. `loadtest`, `ec2`, `parity` and `scaling` are None when they were not done."""

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


def summarise(run: RunFolder) -> RunSummary:
    """Read a finished run's records.

    Raises:
        SettingsRefused: a stage's record is missing.
        LedgerRefused: a record cannot be read.
    """
    return RunSummary(
        run_id=run.id,
        dataset=run.need(DatasetRef),
        model=run.need(TrainedModel),
        endpoint=run.need(EndpointRef),
        function=run.need(FunctionRef),
        smoke=run.need(SmokeResult),
        loadtest=run.find(LoadReport),
        times=run.need(StageTimes),
        report=str(run.folder / REPORT),
        ec2=run.find(InstanceModel),
        parity=run.find(Parity),
        scaling=run.find(ScalingVerdicts),
    )


def forget_load_test_of_other_deployment(run: RunFolder, tested: LoadTestIdentity) -> None:
    """Delete the records of a load test of a deployment other than `tested`, which the report must not show.

    Raises:
        LedgerRefused: a record cannot be read.
    """
    kept = run.find(LoadTestIdentity)
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
        run.forget(LoadReport, LoadTestIdentity, ScalingVerdicts)
