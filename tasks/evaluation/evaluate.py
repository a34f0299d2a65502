"""Evaluates a trained model from its own predictions: keeps them, a table of them, the record, and the hard photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from tasks.evaluation.record import FOLDER, CurvePoint, Evaluation, HardPhoto
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
    folder = run.folder / FOLDER / trained_on
    record = Evaluation(
        trained_on=trained_on,
        model_uri=model.model_uri,
        model_sha256=sha256,
        data_digest=model.data_digest,
        **_counted(predictions, dataset.classes),
        curves=curves_of(meta, model.model_uri),
        hard=_hard_photos(run, dataset, predictions, folder / PHOTOS),
        versions=_texts(meta, "versions"),
        settings=_texts(meta, "config"),
    )
    write_atomically(folder / FILE, content)
    write_table(predictions, dataset.classes, folder / TABLE)
    run.keep(record)
    error = f"{record.calibration_error:.3f}"
    say(f"evaluation: {record.right} of {record.images} right, calibration error {error}, in {folder}")
    return record


def _counted(found: Predictions, classes: Sequence[str]) -> dict[str, Any]:
    """Return the fields of the record that are counted from the predictions alone."""
    bins = reliability(found)
    return {
        "images": len(found.labels),
        "right": int((found.labels == found.predicted).sum()),
        "log_loss": log_loss(found),
        "calibration_error": calibration_error(bins),
        "classes": class_results(found, classes),
        "confusions": confusions(found, classes),
        "reliability": bins,
    }


def _hard_photos(run: Run, dataset: DatasetRef, found: Predictions, folder: Path) -> tuple[HardPhoto, ...]:
    """Keep the photos of the worst mistakes in a folder, in place of an earlier model's."""
    remove_tree(folder)
    hard = worst_mistakes(found, dataset.classes, HARD_PHOTOS)
    return tuple(keep_photos(run.aws, dataset, hard, folder, run.folder))


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
