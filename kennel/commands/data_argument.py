"""Judges `--data` by what its name and its listing say, before a server is started.

No image is decoded and nothing is fetched: a zip's directory or a folder's names are read (10,000 images: some 0.1 s).
What only the images tell comes later, from `stage_data`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from kennel import SAMPLE
from tasks.data.archive import list_source
from tasks.data.layout import read_layout
from tasks.run.errors import SourceRefused
from tasks.run.settings import Settings

FORMS = "give a URL, a .zip, a folder or 'sample' as --data"


def judge_argument(data: str, settings: Settings) -> None:
    """Return if the data may be good as far as can be seen from here.

    Raises:
        SourceRefused: there is no such file or folder, it cannot be read, it is no zip, or it is not laid out as
            train|valid|test/<class>/<image>; a URL is of another kind than http or https, or has no host.
    """
    if data == SAMPLE:
        return
    if "://" in data:
        _judge_url(data)
        return
    path = Path(data).expanduser()
    if not path.exists():
        raise SourceRefused("source", data or "''", "there is no such file or folder", FORMS)
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise SourceRefused("source", data, "this user may not read it", f"ls -ld {data}")
    read_layout(list_source(path, settings))


def forget_refused(run_dir: Path) -> None:
    """Remove the folder of a run whose data was refused, unless something was created for it before."""
    if not (run_dir / "ledger.jsonl").exists():
        shutil.rmtree(run_dir, ignore_errors=True)


def _judge_url(data: str) -> None:
    scheme, _, rest = data.partition("://")
    if scheme.lower() not in {"http", "https"}:
        raise SourceRefused("source", data, f"{scheme}:// is not fetched; http and https are", FORMS)
    if not rest.partition("/")[0].rpartition("@")[2].partition(":")[0]:
        raise SourceRefused("source", data, "the URL has no host", FORMS)
