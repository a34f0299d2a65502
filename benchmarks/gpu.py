"""On a CUDA machine: frozen features per second, fine-tuning pictures per second, and JPEGs to an evaluated head.

    python -m benchmarks.gpu --backbone resnet50 [--data dogImages-21breeds.zip]

Elsewhere it says "no GPU" and ends 0. Features and fine-tuning run on pictures already on the GPU (random pixels), so
they measure the network; the last figure includes reading shards, decoding on the CPU and everything else. Goals:
speed.md, one H200.
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
from training.checkpoint import FitCheckpoint
from training.config import parse_config
from training.distributed import World
from training.fit import Batch, Fit, Metrics, Schedule
from training.model import Classifier, Embedder, Head, Standardisation, build_backbone
from training.train import run

CLASSES = 133
IMAGES = 8351


def per_second(images: int, work: Callable[[], None], *, repeats: int = 7) -> float:
    """Median rate of `work` over `images` pictures, after three runs that do not count."""
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
    """(count, 224, 224, 3) uint8 on the GPU."""
    return torch.randint(0, 256, (count, 224, 224, 3), dtype=torch.uint8, device="cuda")


def features_per_second(backbone: str, batch: int) -> float:
    """Frozen backbone, bf16, channels last."""
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
    """The whole network forwards, backwards and stepped by the loop that --finetune uses."""
    built = build_backbone(backbone)
    head = Head(built.width, CLASSES).folded(Standardisation(torch.zeros(built.width), torch.ones(built.width)))
    model = Classifier(Embedder(built), head).cuda()
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, labels = random_pictures(batch), torch.randint(0, CLASSES, (batch,), device="cuda")
    fit = Fit(
        model,
        torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True),
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


def drawn_photos(count: int) -> list[Photo]:
    """Random JPEGs of 256×340 px in the reference data's proportions."""
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
    """Seconds from staged JPEGs to a head measured on the test split, and by phase; imports are not counted."""
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
    parser.add_argument("--data", type=Path, help="a zip of photos; without one, pictures are drawn")
    parser.add_argument("--images", type=int, default=IMAGES)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU: nothing measured")
        return

    torch.backends.cudnn.benchmark = True
    print(f"{torch.cuda.get_device_name()}; torch {torch.__version__}; {given.backbone}, random weights")
    print(f"features: {features_per_second(given.backbone, 512):,.0f} img/s (goal 20,000)")
    print(f"fine-tuning: {finetuned_per_second(given.backbone, 256):,.0f} img/s (goal 5,000)")
    photos = repeated(read_zip(given.data), given.images) if given.data else drawn_photos(given.images)
    seconds, phases = jpegs_to_head(given.backbone, photos)
    print(f"{len(photos)} JPEGs to an evaluated head: {seconds:.2f} s (goal 2 s for 8,351); by phase {phases}")


if __name__ == "__main__":
    main()
