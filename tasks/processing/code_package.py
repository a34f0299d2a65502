"""Package what the hosts of a staging job run: the rules of staging, and the decoder that training and serving share.

The same sources always give the same bytes.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from pathlib import Path

from tasks.model.code import REPOSITORY, copy_sources
from tasks.run.locked_packages import locked_requirements

PARTS = (
    *("tasks/run", "tasks/account", "tasks/data", "tasks/processing"),
    "training/pictures",
)
MODULES = ("tasks/__init__.py", "training/__init__.py")
START = "start.sh"
ROOTS = (
    *("boto3", "httpx", "numpy", "pi-heif", "pillow", "psutil", "pydantic", "pydantic-settings", "simplejpeg"),
    "zstandard",
)
"""What the hosts import. All have the same versions: another numpy or decoder could make another thumbnail."""


def code_archive(repository: Path = REPOSITORY) -> bytes:
    """Return the archive of the code, a tar.gz.

    Raises:
        DiskFailed: a file cannot be read.
        SettingsRefused: the lock of our packages is not there.
    """
    with tempfile.TemporaryDirectory(prefix="kennel-code-") as name:
        folder = Path(name)
        for part in PARTS:
            copy_sources(repository / part, folder / part)
        for module in MODULES:
            (folder / module).write_bytes((repository / module).read_bytes())
        (folder / "requirements.txt").write_text(locked_requirements(ROOTS))
        return _packed(folder)


def start_script(repository: Path = REPOSITORY) -> bytes:
    """Return the script that a container starts with."""
    return (repository / "tasks" / "processing" / START).read_bytes()


def _packed(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size, member.mode = path.stat().st_size, 0o644
                with path.open("rb") as file:
                    tar.addfile(member, file)
    return buffer.getvalue()
