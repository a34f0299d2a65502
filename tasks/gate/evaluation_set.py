"""The photos by which an endpoint's models are judged: the test split that its first model was tested on, frozen.

It stays the same when the data changes, so that the figures of all models are of the same photos. It grows only when
that is asked for. No model may have been trained on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tasks.evaluation.staged_photos import StagedPhoto, read_staged_photos
from tasks.run.aws import Aws
from tasks.run.errors import DataRefused
from tasks.run.handle import Run
from tasks.run.record_store import Count, Record
from tasks.run.records import DatasetRef

SHOWN = 5


@dataclass(frozen=True)
class Part:
    """A dataset whose test split is in the set."""

    bucket: str
    prefix: str
    digest: str
    classes: tuple[str, ...]

    @staticmethod
    def of(dataset: DatasetRef) -> Part:
        """Return the part of a staged dataset."""
        return Part(dataset.bucket, dataset.prefix, dataset.digest, dataset.classes)


@dataclass(frozen=True)
class EvaluationSet(Record, file="evaluation_set.json", called="evaluation set", made_by="retrain"):
    """The frozen photos: the test splits of `parts`. `digest` is that of the sorted sha256 of the `photos` photos."""

    parts: tuple[Part, ...]
    photos: Count
    digest: str

    @property
    def resources(self) -> tuple[tuple[str, str], ...]:
        """The datasets' prefixes."""
        return tuple(("s3-prefix", f"s3://{part.bucket}/{part.prefix}/") for part in self.parts)


def read_rows(aws: Aws, part: Part) -> list[StagedPhoto]:
    """Return the photos of a dataset, of all splits.

    Raises:
        MalformedAnswer: images.jsonl is not what was staged.
        AwsFailed: S3 refused, or did not answer.
    """
    return read_staged_photos(aws, part.bucket, part.prefix)


def freeze(service: Run, challenger: DatasetRef | None = None) -> EvaluationSet:
    """Return the run's evaluation set, after making it of its own test split; `challenger`'s is added if it is given.

    Raises:
        DataRefused: a photo that would be added was trained on by the model that serves.
        SettingsRefused: the run has no staged dataset.
        MalformedAnswer, AwsFailed: as `read_rows`.
    """
    kept, own = service.find(EvaluationSet), service.need(DatasetRef)
    parts = (Part.of(own),) if kept is None else kept.parts
    if challenger is not None and challenger.digest not in {part.digest for part in parts}:
        parts = (*parts, Part.of(challenger))
    if kept is not None and parts == kept.parts:
        return kept
    photos = held_out(service.aws, parts)
    if challenger is not None:
        refuse_trained(photos, read_rows(service.aws, Part.of(own)), f"run {service.id}")
    made = described(parts, photos)
    for kind, name in made.resources:
        service.ledger.adopt(kind, name)
    service.keep(made)
    return made


def described(parts: tuple[Part, ...], photos: Mapping[str, StagedPhoto]) -> EvaluationSet:
    """Return the record of a set of photos, which are by their sha256."""
    digest = hashlib.sha256("\n".join(sorted(photos)).encode()).hexdigest()
    return EvaluationSet(parts, len(photos), digest)


def held_out(aws: Aws, parts: Iterable[Part]) -> dict[str, StagedPhoto]:
    """Return the photos of the parts' test splits by their sha256, each once; `shard` begins with its dataset's prefix.

    Raises:
        MalformedAnswer, AwsFailed: as `read_rows`.
    """
    found: dict[str, StagedPhoto] = {}
    for part in parts:
        for row in read_rows(aws, part):
            if row.split == "test":
                found.setdefault(row.sha256, replace(row, shard=f"{part.prefix}/{row.shard}"))
    return found


def refuse_trained(photos: Mapping[str, StagedPhoto], rows: Iterable[StagedPhoto], who: str) -> None:
    """Refuse an evaluation set of which a model has seen photos in its training or its validation.

    Raises:
        DataRefused: it has; the message names some of them.
    """
    seen = [row for row in rows if row.split != "test" and row.sha256 in photos]
    if seen:
        shown = ", ".join(f"{row.split}: {row.name}" for row in seen[:SHOWN])
        what = f"{len(seen)} of its {len(photos)} photos were in the training data of {who}"
        why = f"a model is not judged by photos that it has learnt; the first are {shown}"
        raise DataRefused("evaluation set", what, why, "take these photos out of the splits train and valid")
