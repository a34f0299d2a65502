"""Read the metadata in a trained model's archive and compare it with the job's metrics and the dataset.

`model.tar.gz` may be hostile: one small regular file is read from it, nothing is unpacked to disk, and the number of
decompressed bytes is limited.
"""

from __future__ import annotations

import gzip
import math
import shutil
import tarfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tasks.run.disk import disk_boundary
from tasks.run.errors import StageFailed
from tasks.run.own_files import replacing
from tasks.run.records import DatasetRef
from tasks.run.sealed import sha256_of, unseal

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
    try:
        return unseal(read_member(archive, "meta.json", label))
    except (ValueError, TypeError) as error:
        raise _unreadable(label, "meta.json", error) from error


def read_member(archive: Path, name: str, label: str, *, most_bytes: int = MAX_META_BYTES) -> bytes:
    """Return a regular file of a local model.tar.gz, of at most so many bytes; `label` names the archive in errors.

    Raises:
        StageFailed: the archive has no such file, or is damaged or hostile.
    """
    try:
        return _member(archive, name, most_bytes)
    except (tarfile.TarError, OSError, EOFError, ValueError, TypeError) as error:
        raise _unreadable(label, name, error) from error


def extract_members(archive: Path, names: Collection[str], label: str, folder: Path) -> None:
    """Write some regular files of a local model.tar.gz into a folder; nothing else of the archive is written.

    Raises:
        StageFailed: a file is missing, or the archive is damaged or hostile.
        DiskFailed: the folder cannot be written.
    """
    missing, passed = set(names), 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                passed += member.size
                if passed > MAX_UNPACKED_BYTES:
                    raise ValueError(f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")
                if name in missing and member.isreg() and (file := tar.extractfile(member)) is not None:
                    with disk_boundary(label, folder / name, member.size):
                        (folder / name).parent.mkdir(parents=True, exist_ok=True)
                        with replacing(folder / name) as target:
                            shutil.copyfileobj(file, target)
                    missing.remove(name)
        if missing:
            raise ValueError(f"it has no member {sorted(missing)[0]}")
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, ValueError, TypeError, zlib.error) as error:
        raise _unreadable(label, "model", error) from error


def _unreadable(label: str, name: str, error: Exception) -> StageFailed:
    why = f"{type(error).__name__}: {error}"
    return StageFailed("trained model", f"{label} has no readable {name}", why, "kennel logs")


def _member(archive: Path, name: str, most_bytes: int) -> bytes:
    passed = 0
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            if member.name.removeprefix("./") == name:
                if not member.isreg() or member.size > most_bytes:
                    raise ValueError(f"{name} is not a regular file of at most {most_bytes} bytes")
                file = tar.extractfile(member)
                assert file is not None  # it is a regular file
                return file.read()
            passed += member.size
            if passed > MAX_UNPACKED_BYTES:
                raise ValueError(f"more than {MAX_UNPACKED_BYTES} bytes come before {name}")
    raise ValueError(f"it has no member {name}")


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
    except (KeyError, TypeError, ValueError) as error:
        raise _disagreement(f"meta.json lacks {error}") from error
    for what, (found, wanted) in expected.items():
        if found != wanted:
            raise _disagreement(f"meta.json has {what} {found}, the data has {wanted}")
    measured = accuracy if reported is None else reported.get("test_accuracy", math.nan)
    if not abs(measured - accuracy) <= METRIC_TOLERANCE:
        raise _disagreement(f"meta.json has test_accuracy {accuracy}, the job's metrics have {measured}")


def measured_metrics(meta: Mapping[str, Any]) -> dict[str, float]:
    """Return the numeric metrics in a model's meta.json."""
    return {name: float(value) for name, value in meta["metrics"].items() if isinstance(value, int | float)}


def _disagreement(why: str) -> StageFailed:
    return StageFailed("trained model", "the model does not agree with its job", why, "kennel logs")
