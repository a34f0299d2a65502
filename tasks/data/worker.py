"""Prepare images in a worker process, which tasks.data.worker_pool starts as `python -m tasks.data.worker`.

The worker reads one JSON line for each chunk from stdin, writes one JSON line of results to stdout, and appends the
staged bytes to a spool file. The kernel limits its memory, so that a hostile image cannot exhaust the machine. It makes
no AWS call and opens only the source and its spool.
"""

from __future__ import annotations

import base64
import hashlib
import json
import resource
import signal
import sys
from pathlib import Path
from typing import BinaryIO

from tasks.data.archive import Reader
from tasks.data.entries import Entry, Unreadable
from tasks.data.image_judgement import ImageLimits, prepare_image
from training.pictures import BadPicture

MAX_MEMORY_BYTES = 3 * 2**30


def main() -> None:
    """Process chunks until stdin ends, or until the spool cannot be written, which the parent is told."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides when to stop
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    order = json.loads(sys.stdin.readline())
    limits = ImageLimits(**order["limits"])
    with Reader(Path(order["root"]), order["kind"]) as reader, Path(order["spool"]).open("wb") as spool:
        _answer("ready")
        for line in sys.stdin:
            chunk = [(index, Entry(*fields)) for index, fields in json.loads(line)]
            try:
                results = [[index, *_prepare(reader, entry, limits, spool)] for index, entry in chunk]
                spool.flush()
            except OSError as error:  # the spool cannot be written, for example on a full disk; no image is at fault
                _answer({"errno": error.errno, "strerror": error.strerror})
                return
            _answer(results)


def _answer(content: object) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def _prepare(reader: Reader, entry: Entry, limits: ImageLimits, spool: BinaryIO) -> list[object]:
    """Return the fields of `Decoded` behind its index, less the spool's path, or [reason for the quarantine]."""
    try:
        source = reader.read(entry)
        prepared = prepare_image(source, limits)
    except (Unreadable, BadPicture) as refusal:
        return [str(refusal)]
    source_sha256 = hashlib.sha256(source).hexdigest()
    kept = prepared.data == source
    staged_sha256 = source_sha256 if kept else hashlib.sha256(prepared.data).hexdigest()
    offset = spool.tell()
    spool.write(prepared.data)
    thumbnail = base64.b64encode(prepared.thumbnail).decode()
    size = (prepared.width, prepared.height, offset, len(prepared.data))
    return [source_sha256, staged_sha256, *size, thumbnail, prepared.notes, prepared.source_size]


if __name__ == "__main__":
    main()
