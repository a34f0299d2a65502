"""Compares what a run's endpoint was asked, and what it answered, with the test split of the run's model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.account.objects import bucket_and_key
from tasks.account.role_policies import captured_prefix
from tasks.drift.captured import Captured, read_captured
from tasks.drift.embedding import embed_folder
from tasks.drift.report import ClassShare, DriftReport, DriftTest
from tasks.drift.two_samples import Comparison, compare_confidences, compare_embeddings, compare_shares
from tasks.evaluation.kept import evaluation_of
from tasks.evaluation.photos import read_photos
from tasks.evaluation.predictions import FILE, Predictions, kept_predictions
from tasks.evaluation.record import FOLDER, SAGEMAKER
from tasks.run.errors import SettingsRefused, StageFailed
from tasks.run.handle import Run, RunFolder
from tasks.run.record_store import write_atomically
from tasks.run.records import DatasetRef, EndpointRef, TrainedModel
from tasks.run.waiting import say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST_PHOTOS = 30
MOST_REFERENCE = 1000
SEED = 0
AGAIN = "look again in some minutes, because kept requests arrive late"
_WHERE = "drift"


@dataclass(frozen=True)
class _Reference:
    """The model's archive, its dataset, and what it said of the test split."""

    archive: Path
    dataset: DatasetRef
    predictions: Predictions


def look_for_drift(run: Run, model_of: RunFolder, *, since: datetime, until: datetime, level: float) -> DriftReport:
    """Test whether photos, predicted classes and confidences of a window of time differ from those of the test split.

    `model_of` is the run that trained what the run's endpoint served in this window. The tests share the level evenly
    (Bonferroni), so that any of them errs with a chance of at most `level`.

    Raises:
        SettingsRefused: the endpoint keeps no requests, or the run lacks what they are compared with.
        StageFailed: too few distinct photos were kept, or model or predictions are damaged.
        MalformedAnswer, AwsFailed: S3 refused, did not answer, or does not have what was staged.
        WaitTimedOut: the photos were not embedded in time.
        DiskFailed: a photo cannot be written.
    """
    endpoint, reference = capturing_endpoint(run), _reference(model_of)
    bucket = bucket_and_key(endpoint.model_uri)[0]
    prefix, classes = f"{captured_prefix(run.id)}/{endpoint.name}/{endpoint.variant}", reference.dataset.classes
    with tempfile.TemporaryDirectory(prefix="kennel-drift-") as folder:
        asked, tested = (Path(folder) / name for name in ("asked", "tested"))
        captured = read_captured(run.aws, bucket, prefix, classes, asked, since=since, until=until)
        _require_enough(captured, since)
        count = _write_reference(run, reference, tested)
        say(f"drift: {len(captured.photos)} photos of {captured.requests} requests against {count} of the test split")
        before = _embedded(reference.archive, tested, count)
        now = _embedded(reference.archive, asked, len(captured.photos))
    return DriftReport(
        endpoint=endpoint.name,
        since=since.isoformat(),
        until=until.isoformat(),
        requests=captured.requests,
        photos=len(captured.photos),
        unusable=captured.unusable,
        reference_photos=count,
        level=level,
        tests=_judged({"photos": compare_embeddings(before, now), **_of_answers(reference, captured)}, level),
        classes=_shares(reference, captured),
        model_of=model_of.id,
    )


def capturing_endpoint(run: RunFolder) -> EndpointRef:
    """Return the run's endpoint, which keeps requests.

    Raises:
        SettingsRefused: there is none, or it keeps none.
    """
    endpoint = run.need(EndpointRef)
    if not endpoint.capture_days:
        why = "it was deployed without --capture"
        cure = f"kennel run --run-id {run.id} --capture 1, with the other options of the run"
        raise SettingsRefused(_WHERE, f"endpoint {endpoint.name} keeps no requests", why, cure)
    return endpoint


def _reference(run: RunFolder) -> _Reference:
    dataset, model = run.need(DatasetRef), run.need(TrainedModel)
    evaluation, why = evaluation_of(run, model)
    folder = run.folder / FOLDER / SAGEMAKER
    archive = folder / "model.tar.gz"
    if evaluation is None or not archive.is_file():
        what = f"run {run.id} has nothing to compare requests with"
        raise SettingsRefused(_WHERE, what, why or f"there is no {archive}", "kennel runs, which lists the runs")
    return _Reference(archive, dataset, kept_predictions(folder / FILE, dataset, evaluation.right))


def _require_enough(captured: Captured, since: datetime) -> None:
    if len(captured.photos) < LEAST_PHOTOS:
        from_then = f"{since:%Y-%m-%d %H:%M} UTC"
        what = f"since {from_then} only {len(captured.photos)} distinct photos were kept; needed are {LEAST_PHOTOS}"
        why = f"{captured.requests} requests were kept, {captured.unusable} lines were not usable"
        cure = f"{AGAIN}, or look at more hours"
        raise StageFailed(_WHERE, what, why, cure)


def _write_reference(run: Run, reference: _Reference, folder: Path) -> int:
    """Write photos of the test split into a folder, drawn at random if there are many, and return their number."""
    import numpy as np

    names = reference.predictions.image_names
    drawn = np.random.default_rng(SEED).permutation(len(names))[:MOST_REFERENCE]
    found = read_photos(run.aws, reference.dataset, {names[index] for index in drawn})
    for name, content in found.items():
        write_atomically(folder / name.replace("/", "-"), content)
    return len(found)


def _embedded(archive: Path, photos: Path, count: int) -> NDArray[np.float32]:
    """Return the embeddings of the photos of a folder that can be read, (photos, width)."""
    import numpy as np

    found = embed_folder(archive, photos, count)
    return found[np.isfinite(found).all(axis=1)]


def _judged(found: Mapping[str, Comparison], level: float) -> tuple[DriftTest, ...]:
    least = level / len(found)
    return tuple(DriftTest(of, each.statistic, each.p_value, each.p_value <= least) for of, each in found.items())


def _of_answers(reference: _Reference, captured: Captured) -> dict[str, Comparison]:
    import numpy as np

    observed = np.array([photo.confidence for photo in captured.photos])
    before = reference.predictions.scores.max(axis=1)
    return {
        "classes": compare_shares(*_counts(reference, captured)),
        "confidence": compare_confidences(np.clip(before.astype(float), 0, 1).round(6), observed),
    }


def _counts(reference: _Reference, captured: Captured) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how often each class was predicted, (classes,), of the test split and of the endpoint's photos."""
    import numpy as np

    classes: Sequence[str] = reference.dataset.classes
    number = {name: index for index, name in enumerate(classes)}
    asked = [number[photo.label] for photo in captured.photos]
    tested = reference.predictions.predicted
    return np.bincount(tested, minlength=len(classes)), np.bincount(asked, minlength=len(classes))


def _shares(reference: _Reference, captured: Captured) -> tuple[ClassShare, ...]:
    tested, asked = _counts(reference, captured)
    rows = zip(reference.dataset.classes, tested / tested.sum(), asked / asked.sum(), strict=True)
    return tuple(ClassShare(name, float(before), float(now)) for name, before, now in rows)
