"""Checks `--data` by its name and its file listing, before a server is started.

No image is decoded and nothing is downloaded or unpacked: only the directory of a zip, the headers of a tar or the
names in a folder are read, which takes about 0.1 s for 10,000 images. `stage_data` checks the images themselves later.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from kennel import SAMPLE
from tasks.data.archive import Reader
from tasks.data.bucket_source import place_of
from tasks.data.entries import FORMS
from tasks.data.layout import read_layout
from tasks.data.unpacking import list_unless_packed
from tasks.run.command_line import path_argument
from tasks.run.errors import DataRefused, SourceRefused
from tasks.run.options import ClassFolder
from tasks.run.settings import Settings
from tasks.run.source_name import MALFORMED, UNREADABLE, file_path, is_s3, is_url, source_name

FROM_INPUT = "-"
LONGEST_LINE = 2**16


def read_data_argument(data: str | None) -> str | None:
    """Return the data that is meant: of `-` the line on standard input, which other users of the machine cannot read.

    Raises:
        SourceRefused: standard input has no line.
    """
    if data != FROM_INPUT:
        return data
    line = sys.stdin.readline(LONGEST_LINE).strip()
    if not line:
        raise SourceRefused(
            "source", "--data -", "there is no line on standard input", "echo URL | kennel run --data -"
        )
    return line


def check_data_argument(data: str, settings: Settings, class_folder: ClassFolder = "auto") -> None:
    """Return if nothing in the name or the listing of the data speaks against it.

    Raises:
        SourceRefused: there is no such file or folder, it cannot be read, it is no archive, or it is not laid out as
            train|valid|test/<class>/<image>; or a URL is not http, https or s3, or names no host or bucket.
    """
    if data == SAMPLE:
        return
    if is_s3(data):
        place_of(data)
        return
    path_of_url = file_path(data)
    if "://" in data and path_of_url is None:
        _judge_url(data)
        return
    if not data.strip():
        raise SourceRefused("source", f"--data={data!r}", "it names nothing", FORMS)
    path = Path(path_of_url or data).expanduser()
    if not os.path.exists(path):  # noqa: PTH110 Path.exists() raises for a name that is too long
        name = source_name(data)
        is_meant_as_url = name == UNREADABLE
        why = (
            "kennel fetches http://, https:// and s3:// URLs only"
            if is_meant_as_url
            else "there is no such file or folder"
        )
        raise SourceRefused("source", name or "''", why, FORMS)
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise SourceRefused("source", data, "this user may not read it", f"ls -ld {path_argument(str(path))}")
    listing = list_unless_packed(path, settings)
    if listing is not None:
        with Reader(listing.root, listing.kind) as reader:
            read_layout(listing, reader.read, class_folder)


@contextmanager
def refused_run_removed(run_dir: Path) -> Iterator[None]:
    """Remove the run's folder when its data is refused inside the block, unless something was created for it before.

    Raises:
        DataRefused: the block raised it.
    """
    try:
        yield
    except DataRefused:
        if not (run_dir / "ledger.jsonl").exists():
            shutil.rmtree(run_dir, ignore_errors=True)
        raise


def _judge_url(data: str) -> None:
    name = source_name(data)
    scheme, _, rest = name.partition("://")
    if not is_url(data):
        of_another_scheme = f", not {scheme}://" if rest else ""
        if scheme.lower() == "file":
            of_another_scheme = ", and file:// ones of this machine"
        raise SourceRefused("source", name, f"kennel fetches http, https and s3 URLs only{of_another_scheme}", FORMS)
    if not rest.partition("/")[0].partition(":")[0]:
        raise SourceRefused("source", name, "the URL has no host", FORMS)
    try:
        is_usable = rest != MALFORMED and (urlsplit(data).port or True)  # `port` reads the host too
    except ValueError:  # its message may repeat a password
        is_usable = False
    if not is_usable:
        why = "it is not a URL with a host and a valid port; write an @ that stands behind the host as %40"
        raise SourceRefused("source", name, why, FORMS)
