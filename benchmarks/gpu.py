"""Measure training on a CUDA GPU: feature extraction, fine-tuning, and the time from JPEGs to an evaluated head.

    python -m benchmarks.gpu --backbone resnet50 [--data dogImages-21breeds.zip]

Without a GPU it measures nothing and ends with exit status 0. Feature extraction and fine-tuning use random pictures
that are already on the GPU, so they measure the network alone. The last figure also includes reading shards and
decoding on the CPU. The goals are for one H200.
"""

import argparse
import io
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.staged_photos import Photo, channels, read_zip, repeated, write_shards
from training.adamw import AdamW
from training.checkpoint import FitCheckpoint
from training.config import parse_config
from training.distributed import World
from training.fit import Batch, Fit, Metrics, Schedule
from training.model import Classifier, Embedder, Head, Standardisation, build_backbone
from training.train import run

CLASSES = 133
IMAGES = 8351


def per_second(images: int, work: Callable[[], None], *, repeats: int = 7) -> float:
    """Return the median rate of `work`, which processes `images` pictures, after three warm-up runs."""
    for _ in range(3):
        work()
    seconds = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return images / statistics.median(seconds)


def random_pictures(count: int) -> torch.Tensor:
    """Return random pictures on the GPU: (count, 224, 224, 3) uint8."""
    return torch.randint(0, 256, (count, 224, 224, 3), dtype=torch.uint8, device="cuda")


def features_per_second(backbone: str, batch: int) -> float:
    """Return the pictures per second through the frozen backbone, in bf16 and channels_last."""
    embedder = Embedder(build_backbone(backbone)).eval().requires_grad_(False).cuda()
    embedder = embedder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = random_pictures(batch)

    @torch.inference_mode()
    def work() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            for _ in range(8):
                embedder(images)

    return per_second(8 * batch, work)


def finetuned_per_second(backbone: str, batch: int) -> float:
    """Return the pictures per second of fine-tuning: forward, backward and optimizer step of the whole network."""
    built = build_backbone(backbone)
    head = Head(built.width, CLASSES).folded(Standardisation(torch.zeros(built.width), torch.ones(built.width)))
    model = Classifier(Embedder(built), head).cuda()
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, labels = random_pictures(batch), torch.randint(0, CLASSES, (batch,), device="cuda")
    fit = Fit(
        model,
        AdamW(model.parameters(), learning_rate=1e-5, weight_decay=0.01),
        world=World(0, 1, 0, 1, "here", torch.device("cuda", 0)),
        checkpoint=FitCheckpoint(None, "benchmark", fingerprint="", interval_seconds=1e9, say=print),
        interrupted=threading.Event(),
        say=lambda _line: None,
        classes=CLASSES,
        is_bf16=True,
    )

    def work() -> None:
        batches = [Batch((images,), labels, batch)] * 8
        fit.run(Schedule(1, 1), batches=lambda _epoch: batches, evaluate=lambda: Metrics(1.0, 0.0, 1))

    return per_second(8 * batch, work)


def random_photos(count: int) -> list[Photo]:
    """Return random JPEGs of 340×256 px, 80 % for training and 10 % each for validation and test."""
    random = np.random.default_rng(0)
    photos = []
    for number in range(count):
        noise = Image.fromarray(random.integers(0, 256, (32, 43, 3), np.uint8)).resize((340, 256))
        buffer = io.BytesIO()
        noise.save(buffer, "JPEG", quality=92)
        split = "train" if number < 0.8 * count else "validation" if number < 0.9 * count else "test"
        photos.append(Photo(split, f"{number % CLASSES:03d}", buffer.getvalue()))
    return photos


def jpegs_to_head(backbone: str, photos: list[Photo]) -> tuple[float, dict[str, float]]:
    """Return the seconds from staged JPEGs to a head measured on the test split (without imports), and by phase."""
    with tempfile.TemporaryDirectory() as folder:
        write_shards(photos, Path(folder) / "data")
        model = Path(folder) / "model"
        settings = f"--backbone {backbone} --views 1 --epochs 10 --batch-size 512".split()
        run(parse_config([*settings, *channels(Path(folder) / "data", model, None)], os.environ), threading.Event())
        seconds = json.loads((model / "meta.json").read_text())["seconds"]
    return sum(seconds[phase] for phase in ("embed", "fit", "test")), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--data", type=Path, help="a zip of photos; without one, random pictures are used")
    parser.add_argument("--images", type=int, default=IMAGES)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU, so nothing is measured.")
        return

    torch.backends.cudnn.benchmark = True
    print(f"{torch.cuda.get_device_name()}; torch {torch.__version__}; {given.backbone}, random weights")
    print(f"features: {features_per_second(given.backbone, 512):,.0f} img/s (goal 20,000)")
    print(f"fine-tuning: {finetuned_per_second(given.backbone, 256):,.0f} img/s (goal 5,000)")
    photos = repeated(read_zip(given.data), given.images) if given.data else random_photos(given.images)
    seconds, phases = jpegs_to_head(given.backbone, photos)
    print(f"{len(photos)} JPEGs to an evaluated head: {seconds:.2f} s (goal 2 s for 8,351); by phase {phases}")


if __name__ == "__main__":
    main()
