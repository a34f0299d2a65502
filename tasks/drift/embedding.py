"""Embeds photos by the backbone of a kept model, in a process of its own: they are of anybody."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.model.code import REPOSITORY
from tasks.run.errors import StageFailed, WaitTimedOut
from tasks.run.model_archive import extract_served

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

START_SECONDS, SECONDS_EACH = 120.0, 2.0
"""On a busy machine: to load a model, and for each photo."""
_WHERE = "embeddings"


def embed_folder(archive: Path, photos: Path, count: int) -> NDArray[np.float32]:
    """Return the embeddings of the `count` photos in a folder, (count, width), by a local model.tar.gz.

    The rows are in the order of the file names; a photo that cannot be read has a row of NaN. A file is added to the
    folder.

    Raises:
        StageFailed: the model is damaged, or its graph has another form.
        WaitTimedOut: it did not end in time.
        DiskFailed: the model cannot be unpacked.
    """
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="kennel-model-") as folder:
        extract_served(archive, str(archive), Path(folder))
        command = [sys.executable, "-P", "-m", "training.photo_embeddings", folder, str(photos)]
        deadline = START_SECONDS + SECONDS_EACH * count
        try:
            done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=deadline)
        except subprocess.TimeoutExpired as error:
            what, why = f"{count} photos were not embedded", f"there was no result within {deadline:.0f} s"
            raise WaitTimedOut(_WHERE, what, why, "run the same command again") from error
    if done.returncode != 0:
        what, why = f"{archive} does not embed photos", done.stderr.strip()[-500:].replace(folder, "the archive")
        raise StageFailed(_WHERE, what, why, "kennel runs, which lists the runs that have a model")
    found: NDArray[np.float32] = np.load(photos / "embeddings.npy", allow_pickle=False)
    return found
