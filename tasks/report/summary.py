"""Reads a run's summary, only from the records in runs/<id>/, and whatever is there: what is not becomes a note."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.account.permission_use import PermissionUse
from tasks.audit.report import AuditReport
from tasks.drift.report import DriftReport
from tasks.gate.gate import GateRecord
from tasks.load.report import LoadTestIdentity
from tasks.promotion.agreement import Agreement
from tasks.promotion.canary import Canary
from tasks.promotion.promote import Promotion
from tasks.report.model_changes import ModelChanges
from tasks.report.parity import Parity
from tasks.report.search_study import SearchStudy
from tasks.retraining.record import Retraining
from tasks.run.errors import LedgerRefused
from tasks.run.handle import RunFolder
from tasks.run.naming import RUN_ID
from tasks.run.record_store import Amount, AnyRecord, Record, load_record
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, InstanceModel, LoadReport, TrainedModel
from tasks.run.trials import Search
from tasks.serving.releases import Releases
from tasks.serving.smoke import SmokeResult
from tasks.verdicts.check import ScalingVerdicts

REPORT = "report.html"


@dataclass(frozen=True)
class StageTimes(Record, file="pipeline.json", called="finished pipeline", made_by="pipeline"):
    """The wall time in seconds of each stage of the last command, and its machine. Adopted stages are short.

    `inconclusive` says what the load test could not judge and why; it is "" when everything was judged. `lock_sha256`
    is that of the versions that this environment is made from, "" if the command did not run from a checkout.
    """

    seconds: dict[str, Amount]
    where: str
    inconclusive: str = ""
    lock_sha256: str = ""


@dataclass(frozen=True)
class RunSummary:
    """The results of a run. A record is None when its stage was not done, or when it cannot be read.

    `notes` has a sentence for each record that a finished run has and that this one lacks, and for each that cannot be
    read.
    """

    run_id: str
    dataset: DatasetRef | None
    model: TrainedModel | None
    endpoint: EndpointRef | None
    function: FunctionRef | None
    smoke: SmokeResult | None
    loadtest: LoadReport | None
    times: StageTimes | None
    report: str
    ec2: InstanceModel | None = None
    parity: Parity | None = None
    scaling: ScalingVerdicts | None = None
    permissions: PermissionUse | None = None
    audit: AuditReport | None = None
    study: SearchStudy | None = None
    changes: ModelChanges = ModelChanges()
    notes: tuple[str, ...] = ()

    @property
    def search(self) -> Search | None:
        """How the training job chose its hyperparameters, None without a search."""
        return None if self.model is None else self.model.search

    @property
    def inconclusive(self) -> str:
        """What the load test could not judge and why; "" when everything was judged."""
        return "" if self.times is None else self.times.inconclusive


def accuracy_interval(accuracy: float, images: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of an accuracy measured on `images` images.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".

    Raises:
        ValueError: the accuracy is not a fraction, or there is no image.
    """
    if not 0 <= accuracy <= 1 or images < 1:
        raise ValueError(f"an accuracy of {accuracy} on {images} images")
    z = 1.959964
    centre = (accuracy + z * z / (2 * images)) / (1 + z * z / images)
    spread = z / (1 + z * z / images) * math.sqrt(accuracy * (1 - accuracy) / images + z * z / (4 * images**2))
    return max(0.0, centre - spread), min(1.0, centre + spread)


def accuracy_text(accuracy: float, images: int) -> str:
    """Return an accuracy with the number of images behind it and its interval, or with the reason for having none."""
    try:
        low, high = accuracy_interval(accuracy, images)
    except ValueError:
        return f"{accuracy} on {images} images, which is no accuracy: it has to be 0 to 1, on at least one image"
    return f"{accuracy:.4f} on {images} images (95 %: {low:.3f} to {high:.3f})"


def summarise(run: RunFolder) -> RunSummary:
    """Read a run's records."""
    notes: list[str] = []

    def read(kind: type[AnyRecord], *, is_expected: bool = True, folder: Path = run.folder) -> AnyRecord | None:
        try:
            found = load_record(folder, kind)  # one by one: each has its own note
        except LedgerRefused as error:
            notes.append(f"{kind.file} cannot be read: {error.why}")
            return None
        if found is None and is_expected:
            notes.append(f"there is no {kind.called}: {kind.file} is missing, which the flow {kind.made_by} writes")
        return found

    def maybe(kind: type[AnyRecord], folder: Path = run.folder) -> AnyRecord | None:
        return read(kind, is_expected=False, folder=folder)

    model, study, retraining = read(TrainedModel), maybe(SearchStudy), maybe(Retraining)
    named = "" if retraining is None else retraining.challenger
    judged = run.folder.with_name(named) if RUN_ID.fits(named) else run.folder
    return RunSummary(
        run_id=run.id,
        dataset=read(DatasetRef),
        model=model,
        endpoint=read(EndpointRef),
        function=read(FunctionRef),
        smoke=read(SmokeResult),
        loadtest=maybe(LoadReport),
        times=read(StageTimes),
        report=str(run.folder / REPORT),
        ec2=maybe(InstanceModel),
        parity=maybe(Parity),
        scaling=maybe(ScalingVerdicts),
        permissions=maybe(PermissionUse),
        audit=maybe(AuditReport),
        changes=ModelChanges(
            releases=maybe(Releases),
            retraining=retraining,
            decision=maybe(GateRecord, judged),
            agreement=maybe(Agreement),
            promotion=maybe(Promotion),
            canary=maybe(Canary),
            drift=maybe(DriftReport),
        ),
        study=study if study is not None and model is not None and study.is_of(model) else None,
        notes=tuple(notes),
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
