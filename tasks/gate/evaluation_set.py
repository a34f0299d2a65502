"""The photos by which an endpoint's models are judged: the test split that its first model was tested on, frozen.

It stays the same when the data changes, so that the figures of all models are of the same photos. It grows only when
that is asked for. No model may have been trained on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tasks.run.aws import Aws
from tasks.run.errors import DataRefused, MalformedAnswer, aws_boundary
from tasks.run.handle import Run
from tasks.run.record_store import Count, Record
from tasks.run.records import DatasetRef
from tasks.run.sealed import parse_json
from tasks.run.streamed import read_streamed, read_whole

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


@dataclass(frozen=True)
class PhotoRow:
    """What images.jsonl says of a photo; `shard` is a key after the dataset's prefix, `sha256` of the staged file."""

    split: str
    label: str
    name: str
    sha256: str
    shard: str
    member: str


def read_rows(aws: Aws, part: Part) -> list[PhotoRow]:
    """Return the photos of a dataset, of all splits.

    Raises:
        MalformedAnswer: images.jsonl is not what was staged.
        AwsFailed: S3 refused, or did not answer.
    """
    uri = f"s3://{part.bucket}/{part.prefix}/images.jsonl"
    key = f"{part.prefix}/images.jsonl"
    with aws_boundary(uri):
        content = read_streamed(aws, "s3", "get_object", "Body", read_whole, Bucket=part.bucket, Key=key)[1]
    try:
        return [_row(parse_json(line)) for line in content.splitlines()]
    except (ValueError, TypeError, LookupError) as error:
        what = f"{uri} is not what was staged ({type(error).__name__}: {error})"
        anew = "kennel run with the same data, which stages a damaged dataset anew"
        raise MalformedAnswer("evaluation set", what, "it was damaged in S3", anew, is_reading=True) from error


def _row(found: Mapping[str, Any]) -> PhotoRow:
    return PhotoRow(*(str(found[name]) for name in ("split", "class", "name", "sha256", "shard", "member")))


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


def described(parts: tuple[Part, ...], photos: Mapping[str, PhotoRow]) -> EvaluationSet:
    """Return the record of a set of photos, which are by their sha256."""
    digest = hashlib.sha256("\n".join(sorted(photos)).encode()).hexdigest()
    return EvaluationSet(parts, len(photos), digest)


def held_out(aws: Aws, parts: Iterable[Part]) -> dict[str, PhotoRow]:
    """Return the photos of the parts' test splits by their sha256, each once; `shard` begins with its dataset's prefix.

    Raises:
        MalformedAnswer, AwsFailed: as `read_rows`.
    """
    found: dict[str, PhotoRow] = {}
    for part in parts:
        for row in read_rows(aws, part):
            if row.split == "test":
                found.setdefault(row.sha256, replace(row, shard=f"{part.prefix}/{row.shard}"))
    return found


def refuse_trained(photos: Mapping[str, PhotoRow], rows: Iterable[PhotoRow], who: str) -> None:
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
