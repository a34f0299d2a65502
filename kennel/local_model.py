"""A trained model on this machine, without a server: the endpoint's own serving code answers in this process."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.run.errors import SettingsRefused, StageFailed
from tasks.run.model_archive import extract_served

if TYPE_CHECKING:
    from training.serve import Predictor

_NEXT = "kennel runs, which lists the runs that have a model; load the model.tar.gz that a training saved"


@dataclass(frozen=True)
class Answer:
    """The class that a photo most likely shows, its probability, and the probability of each class by name."""

    label: str
    score: float
    scores: dict[str, float]


class LocalModel:
    """A loaded model; many threads may use it."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the scores."""
        return self._predictor.labels

    def predict(self, photo: bytes | str | os.PathLike[str]) -> Answer:
        """Classify a photo: a path, or the bytes of a picture.

        Raises:
            ValueError: it is not such a file, or has too many bytes or pixels.
            OSError: the file cannot be read.
        """
        from training.serve import input_fn, predict_fn

        content = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
        found = predict_fn(input_fn(content, "application/x-image"), self._predictor)
        scores = {label: float(score) for label, score in zip(found.labels, found.scores, strict=True)}
        best = max(scores, key=scores.__getitem__)
        return Answer(best, scores[best], scores)


def load_model(path: str | os.PathLike[str]) -> LocalModel:
    """Load a model.tar.gz, or the one that SageMaker trained in a run's folder; takes about a second.

    The code in the archive is not run: kennel's own serves it.

    Raises:
        SettingsRefused: there is no model.
        StageFailed: the archive is damaged, or is not what training saved.
    """
    given = Path(path)
    archive = given / "TrainedModels" / "sagemaker" / "model.tar.gz" if given.is_dir() else given
    if not archive.is_file():
        why = "there is no such file" if archive == given else f"there is no {archive}"
        raise SettingsRefused("model", str(given), why, "kennel runs, which lists the runs; name one that has a model")
    from training.serve import BadModel, model_fn

    with tempfile.TemporaryDirectory(prefix="kennel-model-") as folder:
        extract_served(archive, str(archive), Path(folder))
        try:
            return LocalModel(model_fn(folder))
        except BadModel as error:
            why = str(error).replace(folder, "the archive")
            raise StageFailed("model", f"{archive} cannot be loaded", why, _NEXT) from error
