"""Evaluations for the tests of a run's page."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tasks.evaluation.record import (
    ClassResult,
    ConfidenceBin,
    Confusion,
    CurvePoint,
    Evaluation,
    HardPhoto,
)
from tests.tasks.report.test_report import MODEL


def evaluation(names: Sequence[str], text: str = "photo", hard: int = 3, uri: str = MODEL.model_uri) -> Evaluation:
    """Return what a model of these classes might do: each class has ten photos, and one is taken for the next class."""
    following = [*names[1:], names[0]]
    return Evaluation(
        trained_on="sagemaker",
        model_uri=uri,
        model_sha256="0" * 64,
        data_digest=MODEL.data_digest,
        images=10 * len(names),
        right=9 * len(names),
        log_loss=0.25,
        calibration_error=0.05,
        classes=tuple(ClassResult(name, 10, 9, 10) for name in names),
        confusions=tuple(Confusion(true, taken, 1) for true, taken in zip(names, following, strict=True)),
        reliability=(ConfidenceBin(0.8, 0.9, 5 * len(names), 0.85, 0.8), ConfidenceBin(0.9, 1.0, 5 * len(names), 1, 1)),
        curves={"head": tuple(CurvePoint(1 / epoch, math.sqrt(1 / epoch), 0.5) for epoch in range(1, 9))},
        hard=tuple(
            HardPhoto("00000/00000000.jpg", names[0], names[-1], 0.9, 0.01, text, "0" * 64, f"hard/{number}.jpg")
            for number in range(hard)
        ),
        versions={text: text},
    )


def write_photos(folder: Path, count: int) -> None:
    """Write photos of 640 × 480 pixels as `hard/<number>.jpg`; noise, which JPEG cannot make small."""
    (folder / "hard").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.effect_noise((640, 480), 80 + number).convert("RGB").save(folder / "hard" / f"{number}.jpg")
