"""Has two models answer the photos of an evaluation set, by kennel's serving code in a process of its own.

The archives are those that an endpoint serves, so what is judged is what would be deployed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.account.objects import fetch_object
from tasks.evaluation.predictions import Predictions
from tasks.evaluation.staged_photos import StagedPhoto
from tasks.gate.evaluation_set import EvaluationSet
from tasks.model.code import REPOSITORY
from tasks.run.disk import disk_boundary
from tasks.run.errors import StageFailed, WaitTimedOut
from tasks.run.handle import Run
from tasks.run.model_archive import extract_served
from tasks.run.waiting import say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WHERE, SCRATCH = "gate", ".gate-"
SECONDS_PER_PHOTO, SECONDS_TO_START = 2.0, 180.0


@dataclass(frozen=True)
class Answered:
    """What a model said of the photos; the time of one in seconds is the median, `size_bytes` that of its archive."""

    predictions: Predictions
    seconds: float
    size_bytes: int


def answer_both(
    run: Run, photos: EvaluationSet, rows: Mapping[str, StagedPhoto], archives: Sequence[str]
) -> tuple[list[Answered], tuple[str, ...]]:
    """Return what the models of two archives in S3 say of the photos, and the classes that their columns are of.

    `rows` are those of `held_out`. The classes are those of the models and of the photos; a model gives one that it
    does not have the score 0.

    Raises:
        StageFailed: an archive is damaged, or a model cannot be loaded.
        WaitTimedOut: the models took longer than two seconds a photo.
        MalformedAnswer, AwsFailed: S3 refused, or does not have what was staged.
        DiskFailed: a file cannot be written.
    """
    with disk_boundary(WHERE, run.folder):
        for left in run.folder.glob(f"{SCRATCH}*"):  # of a command that was killed: only one judges a run at a time
            shutil.rmtree(left, ignore_errors=True)
    with disk_boundary(WHERE, run.folder), tempfile.TemporaryDirectory(dir=run.folder, prefix=SCRATCH) as scratch:
        folder = Path(scratch)
        models = [_unpacked(run, uri, folder / f"model-{number}") for number, uri in enumerate(archives)]
        shards = _fetch_shards(run, photos, rows, folder / "shards")
        _answer([path for path, _ in models], folder / "shards", folder / "answers.npz", photos.photos)
        return _read(folder / "answers.npz", shards, [size for _, size in models])


def _unpacked(run: Run, uri: str, folder: Path) -> tuple[Path, int]:
    """Return the folder of what is served of an archive, and the archive's bytes."""
    archive = folder.with_suffix(".tar.gz")
    fetch_object(run.aws, uri, archive)
    folder.mkdir()
    extract_served(archive, uri, folder)
    return folder, archive.stat().st_size


def _fetch_shards(
    run: Run, photos: EvaluationSet, rows: Mapping[str, StagedPhoto], folder: Path
) -> dict[str, tuple[str, str]]:
    """Fetch the shards that hold the photos; return label and sha256 of each by its name among the answers."""
    folder.mkdir()
    names = {key: f"{number:05d}.tar" for number, key in enumerate(sorted({row.shard for row in rows.values()}))}
    for key, name in names.items():
        bucket = next(part.bucket for part in photos.parts if key.startswith(f"{part.prefix}/"))
        fetch_object(run.aws, f"s3://{bucket}/{key}", folder / name)
    return {f"{names[row.shard]}/{row.member}": (row.label, sha256) for sha256, row in rows.items()}


def _answer(models: Sequence[Path], shards: Path, output: Path, photos: int) -> None:
    named = [part for path in models for part in ("--model", str(path))]
    command = [sys.executable, "-P", "-m", "training.held_out", *named]
    command += ["--shards", str(shards), "--output", str(output)]
    environment = {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", "PATH": "/usr/bin:/bin"}
    deadline = SECONDS_TO_START + photos * SECONDS_PER_PHOTO
    say(f"gate: both models answer the {photos:,} photos of the evaluation set")
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            try:
                _follow(process, photos, deadline)
            finally:
                process.kill()
        if process.returncode != 0:
            errors.seek(0)
            why = errors.read().strip()[-400:] or f"it ended with status {process.returncode}"
            raise StageFailed(
                WHERE,
                "the models could not answer the photos",
                why,
                "kennel models, which lists the versions; train it anew",
            )


def _follow(process: subprocess.Popen[str], photos: int, deadline_seconds: float) -> None:
    """Say how far the process is, until it ends.

    Raises:
        WaitTimedOut: it did not end in time.
    """
    killed = threading.Event()

    def kill() -> None:
        killed.set()
        process.kill()

    timer = threading.Timer(deadline_seconds, kill)
    timer.start()
    try:
        for line in process.stdout or ():
            say(f"gate: {line.strip()} of {photos:,}")
        process.wait()
    finally:
        timer.cancel()
    if killed.is_set():
        what, why = "the models did not answer the photos", f"it took more than {deadline_seconds:.0f} s"
        raise WaitTimedOut(WHERE, what, why, "run the same command again on a machine that is less busy")


def _read(
    path: Path, shards: Mapping[str, tuple[str, str]], sizes: Sequence[int]
) -> tuple[list[Answered], tuple[str, ...]]:
    import numpy as np

    with np.load(path, allow_pickle=False) as found:
        names = [str(name) for name in found["names"]]
        if missing := shards.keys() - set(names):
            what = f"{len(missing)} of the {len(shards)} photos of the evaluation set are not in their shards"
            anew = "kennel run with the same data, which stages a damaged dataset anew"
            raise StageFailed(WHERE, what, f"one is {min(missing)}", anew)
        classes = [[str(name) for name in found[f"classes_{model}"]] for model in range(len(sizes))]
        rows = [number for number, name in enumerate(names) if name in shards]
        labels = [shards[names[number]][0] for number in rows]
        every = tuple(dict.fromkeys([*classes[0], *classes[1], *labels]))
        truth = np.array([every.index(label) for label in labels], np.int64)
        answered = [
            Answered(
                _predictions(found[f"scores_{model}"][rows], [every.index(name) for name in own], truth, len(every)),
                float(np.median(found[f"seconds_{model}"][rows])),
                size,
            )
            for model, (own, size) in enumerate(zip(classes, sizes, strict=True))
        ]
    return answered, every


def _predictions(
    scores: NDArray[np.float32], columns: Sequence[int], truth: NDArray[np.int64], classes: int
) -> Predictions:
    """Return the predictions, (N,), with a model's scores, (N, its classes), in the columns of all classes.

    A photo without any score was refused by the model, and is taken for another class than its own.
    """
    import numpy as np

    spread = np.zeros((len(truth), classes), np.float32)
    spread[:, list(columns)] = scores
    predicted = np.where(spread.any(1), spread.argmax(1), (truth + 1) % classes)
    return Predictions(np.arange(len(truth)), truth, predicted, spread)
