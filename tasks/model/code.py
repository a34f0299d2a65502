"""Package the code that a run deploys: the training folder and the Lambda zip; no AWS call is made.

The same sources always give the same bytes, because order, timestamps, permissions and compression are fixed. So a
package's digest changes only if its sources do.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tasks.run.disk import disk_boundary, pieces_of
from tasks.run.errors import SettingsRefused
from tasks.run.own_files import remove_tree, replacing
from tasks.run.record_store import write_atomically
from tasks.run.sealed import sha256_of

REPOSITORY = Path(__file__).resolve().parents[2]
"""The checkout, or site-packages if kennel is installed from a wheel."""


def function_source(name: str) -> Path:
    """Return the folder of a function's sources: lambda/<name> in a checkout, tasks/lambda/<name> in a wheel."""
    in_wheel = REPOSITORY / "tasks" / "lambda" / name
    return in_wheel if in_wheel.is_dir() else REPOSITORY / "lambda" / name


TRAINING_SOURCE = REPOSITORY / "training"
CLASSIFY_SOURCE = function_source("classify")

_LEFT_OUT = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold
_FILE_MODE = 0o100644


def stage_training_code(destination: Path, source: Path = TRAINING_SOURCE) -> str:
    """Replace `destination` with a folder that contains only the training package, and return its digest.

    Raises:
        SettingsRefused: `source` has no train.py.
    """
    if not (source / "train.py").is_file():
        raise SettingsRefused("code package", str(source), "it has no train.py", "install kennel again")
    remove_tree(destination)
    copy_sources(source, destination / "training")
    return tree_digest(destination)


def copy_sources(source: Path, destination: Path) -> None:
    """Copy the files of a folder that are no caches into another, which is made.

    Raises:
        DiskFailed: a file cannot be read or written; the message names it.
    """
    for file in _sources(source):
        target = destination / file.relative_to(source)
        with disk_boundary("code package", target, file.stat().st_size):
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as copy:
                copy.writelines(pieces_of(file, "code package"))


def tree_digest(folder: Path) -> str:
    """Return the sha256 of the sorted relative names and the contents of a folder's files."""
    digest = hashlib.sha256()
    for file in _sources(folder):
        name = file.relative_to(folder).as_posix().encode()
        digest.update(len(name).to_bytes(8, "big") + name + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def build_lambda_zip(destination: Path, source: Path = CLASSIFY_SOURCE) -> str:
    """Write the function's zip, which is byte-identical for the same sources, and return its hex sha256.

    Raises:
        SettingsRefused: `source` has no handler.py.
    """
    if not (source / "handler.py").is_file():
        raise SettingsRefused("code package", str(source), "it has no handler.py", "install kennel again")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in _sources(source):
            entry = zipfile.ZipInfo(file.relative_to(source).as_posix(), date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix on every platform, so that the permissions are used
            entry.external_attr = _FILE_MODE << 16
            archive.writestr(entry, file.read_bytes())
    write_atomically(destination, content.getvalue())
    return hashlib.sha256(content.getvalue()).hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, sorted by relative name, without caches, compiled files and hidden files."""
    for file in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        parts = file.relative_to(folder).parts
        hidden = any(part.startswith(".") or part in _LEFT_OUT for part in parts)
        if file.is_file() and not hidden and file.suffix not in {".pyc", ".pyo"}:
            yield file


def git_commit(repository: Path = REPOSITORY) -> str | None:
    """Return the commit of the checkout, with "-dirty" if files differ from it, or None outside a checkout.

    `KENNEL_GIT_COMMIT` takes precedence, for installations without git. If site-packages is inside the checkout of
    another project, the result is None, because that commit would say nothing about kennel.
    """
    named = os.environ.get("KENNEL_GIT_COMMIT")
    if named:
        return named
    if not (repository / ".git").exists():
        return None
    command = ["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def lock_sha256(repository: Path = REPOSITORY) -> str:
    """Return the sha256 of requirements.lock, from which `make setup` makes the environment; "" outside a checkout."""
    lock = repository / "requirements.lock"
    try:
        return sha256_of(lock) if lock.is_file() else ""
    except OSError:
        return ""
