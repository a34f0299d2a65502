"""Have the photos embedded and their sharpness measured, by `python -m training.survey` in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.data.worker_pool import Decoded
from tasks.model.code import REPOSITORY
from tasks.model.imagenet import imagenet_weights
from tasks.model.inputs import FILE_NAME
from tasks.run.errors import StageFailed, WaitTimedOut
from tasks.run.progress import ProgressFactory
from tasks.run.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

START_SECONDS, SECONDS_EACH = 240.0, 0.5
"""On a busy machine: to load the network, and for each photo."""

_WHERE = "inspect"
_PASSES = {"sharpness": "measure sharpness", "embed": "embed"}


@dataclass(frozen=True)
class Survey:
    """What was measured: `sharpness`, (photos,), `features`, (embedded, width), and the photos embedded a second.

    `views` are those of each photo in a training on so many.
    """

    sharpness: NDArray[np.float32]
    features: NDArray[np.float32]
    pace: float
    views: int


def survey(
    photos: Sequence[Decoded],
    embedded: Sequence[int],
    training: int,
    backbone: str,
    settings: Settings,
    progress: ProgressFactory,
) -> Survey:
    """Measure the sharpness of staged photos, and embed those at the indices `embedded` by packaged weights.

    `training`: how many of the photos are for training.

    Raises:
        StageFailed: the weights are damaged.
        WaitTimedOut: it did not end in time.
        DownloadFailed, DiskFailed: as `imagenet_weights`.
    """
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="kennel-survey-") as scratch:
        folder = Path(scratch)
        if embedded:
            (folder / FILE_NAME).symlink_to(imagenet_weights(backbone, None, settings).resolve())
        order = {
            "photos": [(str(each.spool), each.offset, each.size_bytes) for each in photos],
            "embedded": list(embedded),
            "weights": scratch,
            "backbone": backbone,
            "threads": settings.staging_processes,
            "training": training,
        }
        (folder / "order.json").write_text(json.dumps(order))
        counts = {"sharpness": len(photos), "embed": len(embedded)}
        _run(folder, counts, START_SECONDS + SECONDS_EACH * sum(counts.values()), progress)
        with np.load(folder / "result.npz", allow_pickle=False) as found:
            return Survey(found["sharpness"], found["features"], float(found["pace"]), int(found["views"]))


def _run(folder: Path, counts: Mapping[str, int], deadline_seconds: float, progress: ProgressFactory) -> None:
    """Run the program; `counts`: how many photos each of its passes looks at."""
    command = [sys.executable, "-P", "-m", "training.survey", str(folder / "order.json"), str(folder / "result.npz")]
    environment = {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", "PATH": "/usr/bin:/bin"}
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            late = threading.Event()

            def end() -> None:
                late.set()
                process.kill()

            timer = threading.Timer(deadline_seconds, end)
            timer.start()
            try:
                for name, count in counts.items():
                    _follow(process, name, count, progress)
                process.wait()
            finally:
                timer.cancel()
                process.kill()
        if process.returncode != 0:
            errors.seek(0)
            raise _failure(errors.read().strip()[-400:], process.returncode, deadline_seconds, is_late=late.is_set())


def _follow(process: subprocess.Popen[str], name: str, count: int, progress: ProgressFactory) -> None:
    """Show how far one pass is, until it has looked at all photos or the process ends."""
    if not count:
        return
    done = 0
    with progress(_PASSES[name], count, "photos") as counter:
        while done < count and (line := process.stdout.readline() if process.stdout else ""):
            number = int(line.split()[1])
            counter.advance(number - done)
            done = number


def _failure(said: str, status: int, deadline_seconds: float, *, is_late: bool) -> StageFailed | WaitTimedOut:
    what = "the photos were not embedded"
    if is_late:
        why = f"it took more than {deadline_seconds:.0f} s"
        return WaitTimedOut(_WHERE, what, why, "run the same command again on a machine that is less busy")
    return StageFailed(_WHERE, what, said or f"it ended with status {status}", "kennel prepare")
