"""Packs what a machine needs to send the requests of a load test: the code, the photos and the plan, without a secret.

The plan is the master's, with the machine's own paths; the machine takes its credentials from its instance profile.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.run.disk import source_boundary

_ROOT = Path(__file__).resolve().parents[3]
_CODE = ("loadtest", "tasks/run")
PLAN = "plan.json"
LOCUSTFILE = "code/loadtest/locustfile.py"


def make_bundle(plan: Mapping[str, Any]) -> bytes:
    """Return a tar archive with `code/`, `images/` and the plan; two of the same inputs are equal.

    Raises:
        DiskFailed: a file cannot be read.
    """
    images = {f"images/{number}{Path(image).suffix.lower()}": image for number, image in _files(plan)}
    names = dict(zip(images.values(), images, strict=True))
    there = {
        **plan,
        "images": [names.get(image, image) for image in plan["images"]],
        "result_path": "loadtest.json",
        "is_local": False,
    }
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for path in _sources():
            _add(tar, f"code/{path.relative_to(_ROOT).as_posix()}", _read(path))
        for name, image in images.items():
            _add(tar, name, _read(Path(image)))
        _add(tar, PLAN, json.dumps(there, indent=1).encode())
    return content.getvalue()


def _files(plan: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Yield the images that are files of this machine, each once; URLs are fetched by the target."""
    distinct = dict.fromkeys(str(image) for image in plan["images"])
    return enumerate(image for image in distinct if not image.startswith(("http://", "https://")))


def _sources() -> Iterator[Path]:
    yield _ROOT / "tasks" / "__init__.py"
    for folder in _CODE:
        yield from sorted((_ROOT / folder).glob("*.py"))


def _read(path: Path) -> bytes:
    with source_boundary("loadtest", path):
        return path.read_bytes()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    tar.addfile(member, io.BytesIO(content))
