"""Evaluates a trained model from its own predictions: keeps them, a table of them, the record, and the hard photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.evaluation.counts import (
    calibration_error,
    class_results,
    confusions,
    log_loss,
    reliability,
    worst_mistakes,
)
from tasks.evaluation.photos import keep_photos
from tasks.evaluation.predictions import FILE, Predictions, read_predictions
from tasks.evaluation.record import CurvePoint, Evaluation
from tasks.evaluation.table import write_table
from tasks.model.archive import read_meta
from tasks.run.errors import StageFailed
from tasks.run.handle import Run
from tasks.run.own_files import remove_tree
from tasks.run.record_store import forget_record, write_atomically
from tasks.run.records import DatasetRef, TrainingResult
from tasks.run.sealed import sha256_of
from tasks.run.waiting import say

HARD_PHOTOS = 24
TABLE, PHOTOS = "predictions.csv", "hard"


def evaluate_model(run: Run, trained_on: str, model: TrainingResult, archive: Path | None) -> Evaluation | None:
    """Keep what the model does with the test split, in `runs/<id>/TrainedModels/<trained_on>/`, and return the record.

    The evaluation of the same archive is returned as it is. A model that is not on this machine (`archive` is None), or
    whose training kept no predictions, has none, which is said.

    Raises:
        StageFailed: the predictions are damaged or hostile, or do not give the model's metrics.
        SettingsRefused: the run has no staged dataset.
        LedgerRefused: a record cannot be read.
        DiskFailed: a file cannot be written.
    """
    if archive is None:
        say(f"evaluation: {model.model_uri} is not on this machine, so there is none")
        return None
    sha256, kept = sha256_of(archive), run.find(Evaluation, trained_on=trained_on)
    if kept is not None and kept.model_sha256 == sha256:
        return kept
    forget_record(run.folder, Evaluation, trained_on=trained_on)
    dataset, meta = run.need(DatasetRef), read_meta(archive, model.model_uri)
    found = read_predictions(archive, model.model_uri, meta, dataset)
    if found is None:
        say("evaluation: this model's training kept no predictions, so there is none")
        return None
    predictions, content = found
    counted = _evaluation(run, trained_on, model, sha256, predictions, curves_of(meta, model.model_uri))
    record = replace(counted, versions=_texts(meta, "versions"), settings=_texts(meta, "config"))
    folder = run.folder / record.folder
    write_atomically(folder / FILE, content)
    write_table(predictions, dataset.classes, folder / TABLE)
    run.keep(record)
    error = f"{record.calibration_error:.3f}"
    say(f"evaluation: {record.right} of {record.images} right, calibration error {error}, in {folder}")
    return record


def _evaluation(
    run: Run,
    trained_on: str,
    model: TrainingResult,
    sha256: str,
    found: Predictions,
    curves: Mapping[str, tuple[CurvePoint, ...]],
) -> Evaluation:
    dataset = run.need(DatasetRef)
    bins = reliability(found)
    hard = worst_mistakes(found, dataset.classes, HARD_PHOTOS)
    photos = run.folder / "TrainedModels" / trained_on / PHOTOS
    remove_tree(photos)
    return Evaluation(
        trained_on=trained_on,
        model_uri=model.model_uri,
        model_sha256=sha256,
        data_digest=model.data_digest,
        images=len(found.labels),
        right=int((found.labels == found.predicted).sum()),
        log_loss=log_loss(found),
        calibration_error=calibration_error(bins),
        classes=class_results(found, dataset.classes),
        confusions=confusions(found, dataset.classes),
        reliability=bins,
        curves=curves,
        hard=tuple(keep_photos(run.aws, dataset, hard, photos, run.folder)),
    )


def curves_of(meta: Mapping[str, Any], label: str) -> dict[str, tuple[CurvePoint, ...]]:
    """Return the learning curve of each stage of a training, from the model's meta.json.

    Raises:
        StageFailed: a curve has values that are none.
    """
    try:
        return {
            str(stage): tuple(_point(epoch) for epoch in epochs) for stage, epochs in meta.get("curves", {}).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        why = f"{type(error).__name__}: {error}"
        raise StageFailed("learning curve", f"{label} has an unreadable one", why, "kennel logs") from error


def _texts(meta: Mapping[str, Any], name: str) -> dict[str, str]:
    found = meta.get(name, {})
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _point(epoch: Mapping[str, Any]) -> CurvePoint:
    after = epoch["validation"]
    return CurvePoint(float(epoch["train_loss"]), float(after["loss"]), float(after["accuracy"]))
