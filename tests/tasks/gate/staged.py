"""Small datasets of colours that are really staged, and the runs whose they are."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from tasks.account.objects import send_file
from tasks.run.handle import Run
from tasks.run.records import DatasetRef
from tests.tasks.data.datasets import write_zip
from tests.tasks.data.workplace import Workplace
from tests.tasks.gate.colour_models import COLOURS, colour_archive


def photo(colour: str, seed: int) -> bytes:
    """Return a JPEG of a colour, which differs for each seed."""
    noise = np.random.default_rng(seed).integers(0, 40, (32, 32, 3))
    pixels = noise + np.array([200.0 if part else 20.0 for part in COLOURS[colour]])
    content = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(content, "JPEG", quality=90)
    return content.getvalue()


def colours(first_seed: int, *, test: int = 2, more: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """Return a dataset of two classes whose photos are of seeds from the first on, and some more files."""
    files: dict[str, bytes] = {}
    for label in ("red", "green"):
        for split, count in (("train", 2), ("valid", 1), ("test", test)):
            for number in range(count):
                files[f"{split}/{label}/{number}.jpg"] = photo(label, first_seed + len(files))
    return {**files, **(more or {})}


def staged_run(place: Workplace, run_id: str, folder: Path, files: Mapping[str, bytes]) -> Run:
    """Stage a dataset and return a run that has it."""
    dataset, _ = place.stage(write_zip(folder / f"{run_id}.zip", files))
    run = Run(place.aws, run_id)
    run.keep(dataset)
    return run


def stored_model(run: Run, folder: Path, weights: Mapping[str, tuple[float, float, float]] = COLOURS) -> str:
    """Put a model that tells colours into the run's prefix and return its URI."""
    key = f"runs/{run.id}/model.tar.gz"
    bucket = run.need(DatasetRef).bucket
    send_file(run.aws, colour_archive(folder / f"model-{run.id}", weights), bucket, key, "send")
    return f"s3://{bucket}/{key}"
