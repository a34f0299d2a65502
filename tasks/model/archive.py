"""Read the metadata in a trained model's archive and compare it with the job's metrics and the dataset.

`model.tar.gz` may be hostile: one small regular file is read from it, nothing is unpacked to disk, and the number of
decompressed bytes is limited.
"""

from __future__ import annotations

import gzip
import io
import math
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tasks.run.disk import disk_boundary
from tasks.run.errors import StageFailed
from tasks.run.own_files import replacing
from tasks.run.records import DatasetRef
from tasks.run.sealed import Damaged, sha256_of, unseal

METRIC_NAMES = (
    "train_loss",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
    "test_images",
)
"""The metrics that the training script prints as `name=value`, each after a blank or at the start of a line."""

MAX_META_BYTES = 16 * 2**20
MAX_UNPACKED_BYTES = 8 * 2**30
_SHOWN_CHARACTERS = 200
_MOST_AT_ONCE_BYTES = 4 * 2**20
METRIC_TOLERANCE = 5e-4
"""The allowed difference: SageMaker parses metrics from log lines, which are rounded."""


def archive_here(path: Path, sha256: str) -> Path | None:
    """Return the path of a model's archive, or None when it is not on this machine or another model has its place."""
    return path if path.is_file() and sha256_of(path) == sha256 else None


def read_meta(archive: Path, label: str) -> dict[str, Any]:
    """Return the meta.json of a local model.tar.gz; `label` names the archive in errors.

    Raises:
        StageFailed: the archive has no meta.json, or is damaged or hostile.
    """
    content = read_member(archive, "meta.json", label)
    try:
        return unseal(content)
    except Damaged as error:
        raise StageFailed("trained model", f"{label} has no readable meta.json", str(error), "kennel logs") from error


def read_member(archive: Path, name: str, label: str, *, most_bytes: int = MAX_META_BYTES) -> bytes:
    """Return a regular file of a local model.tar.gz, of at most so many bytes; `label` names the archive in errors.

    Raises:
        StageFailed: the archive has no such file, or is damaged or hostile, or cannot be read.
    """
    with opened(archive, label, name) as tar:
        for _, file in _files(tar, {name: most_bytes}):
            content = io.BytesIO()
            shutil.copyfileobj(file, content)
            return content.getvalue()
    raise AssertionError("unreachable: what is missing is an error")


def extract_members(archive: Path, most_bytes: Mapping[str, int], label: str, folder: Path) -> None:
    """Write some regular files of a local model.tar.gz, each of at most so many bytes, into a folder, and nothing else.

    Raises:
        StageFailed: a file is missing or too long, or the archive is damaged or hostile, or cannot be read.
        DiskFailed: the folder cannot be written.
    """
    with opened(archive, label) as tar:
        for member, file in _files(tar, most_bytes):
            target = folder / _name(member)
            with disk_boundary(label, target, member.size):
                target.parent.mkdir(parents=True, exist_ok=True)
                with replacing(target) as written:
                    shutil.copyfileobj(file, written)


@contextmanager
def opened(archive: Path, label: str, name: str = "model") -> Iterator[tarfile.TarFile]:
    """Open a model.tar.gz to read it; an error of this source is none of what is written meanwhile.

    Raises:
        StageFailed: it is damaged or hostile, or cannot be read; the message says that it has no readable `name`.
    """
    try:
        with (
            _readable(archive) as file,
            gzip.GzipFile(fileobj=file) as unpacked,
            tarfile.open(fileobj=_Source(unpacked), mode="r:") as tar,  # type: ignore[call-overload]
        ):
            yield tar
    except (tarfile.TarError, EOFError, ValueError, TypeError, OverflowError) as error:
        why = f"{type(error).__name__}: {error}"
        raise StageFailed("trained model", f"{label} has no readable {name}", why, "kennel logs") from error


class _Source:
    """What an archive unpacks to, of a bounded length; what fails in reading it is a `ReadError` and no `OSError`."""

    def __init__(self, unpacked: gzip.GzipFile) -> None:
        self._unpacked = unpacked
        self.tell = unpacked.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes is too long")
        with _read_errors():
            return self._unpacked.read(size)

    def seek(self, position: int) -> int:
        if not 0 <= position <= MAX_UNPACKED_BYTES:
            raise tarfile.ReadError(f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        with _read_errors():
            return self._unpacked.seek(position)


def _readable(archive: Path) -> IO[bytes]:
    with _read_errors():
        return archive.open("rb")


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, zlib.error) as error:
        raise tarfile.ReadError(str(error)) from error


def _files(tar: tarfile.TarFile, most_bytes: Mapping[str, int]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Yield the first entry of each name, in the archive's order; each has to be a regular file, not too long."""
    missing = set(most_bytes)
    for member in tar:
        name = _name(member)
        if name in missing:
            if not member.isreg() or not 0 <= member.size <= most_bytes[name]:
                raise ValueError(f"{name} is not a regular file of at most {most_bytes[name]} bytes")
            file = tar.extractfile(member)
            assert file is not None  # it is a regular file
            yield member, file
            missing.remove(name)
        if not missing:
            return
    raise ValueError(f"it has no member {sorted(missing)[0]}")


def _name(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./")


def verify_meta(dataset: DatasetRef, meta: Mapping[str, Any], reported: Mapping[str, float] | None) -> None:
    """Refuse a model whose meta.json differs from the dataset or from the metrics that its job reported, if it did.

    Raises:
        StageFailed: a value differs or is missing; the message names it.
    """
    try:
        own = meta["metrics"]
        expected = {
            "classes": (list(meta["classes"]), list(dataset.classes)),
            "data digest": (meta["data_digest"], dataset.digest),
            "test images": (int(own["test_images"]), dataset.images("test")),
        }
        accuracy = float(own["test_accuracy"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _disagreement(f"meta.json lacks {error}") from error
    for what, (found, wanted) in expected.items():
        if found != wanted:
            raise _disagreement(f"meta.json has {what} {_cut(found)}, the data has {_cut(wanted)}")
    measured = accuracy if reported is None else reported.get("test_accuracy", math.nan)
    if not abs(measured - accuracy) <= METRIC_TOLERANCE:
        raise _disagreement(f"meta.json has test_accuracy {accuracy}, the job's metrics have {measured}")


def measured_metrics(meta: Mapping[str, Any]) -> dict[str, float]:
    """Return the numeric metrics in a model's meta.json."""
    return {name: float(value) for name, value in meta["metrics"].items() if isinstance(value, int | float)}


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _disagreement(why: str) -> StageFailed:
    return StageFailed("trained model", "the model does not agree with its job", why, "kennel logs")
