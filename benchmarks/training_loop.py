"""Compare the reference training loop with ours, on the same pictures, epochs and head, and print the ratio.

    python -m benchmarks.training_loop --data ../shared/data/dogImages-21breeds.zip --backbone resnet50

The reference loop is re-written from the published starter code. It uses ImageFolder with PIL, RandomResizedCrop and
flips, a DataLoader without workers, eager fp32, and Adam on the head. It runs the frozen backbone again for every
picture in every epoch and evaluation. Normalisation, a backbone in eval mode and no_grad in evaluation, which the
original lacks, are added so that only the speed differs.

There are two comparisons. The first is the whole job on the zip's own photos, with both accuracies. The second is the
same number of epochs over `--images` pictures: our loop really runs, and the time of the reference, which would be
hours, is extrapolated from its measured rate.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.staged_photos import channels, read_zip, repeated, write_folders, write_shards
from tasks.run.machine import hardware
from training.imagenet import export_packaged
from training.model import build_backbone
from training.weights import load_weights

EPOCHS = 10
GOAL = 100.0


@dataclass(frozen=True)
class Reference:
    """The time and the accuracy of the reference loop; `passes` is the number of pictures run through the backbone."""

    seconds: float
    passes: int
    tests: int
    test_accuracy: float

    def seconds_for(self, images: int) -> float:
        """Return the seconds of `EPOCHS` epochs over `images` pictures at the measured rate; test pictures run once."""
        return (EPOCHS * (images - self.tests) + self.tests) * self.seconds / self.passes


def run_reference(root: Path, backbone_name: str, weights: Path | None, *, epochs: int, seed: int) -> Reference:
    """Train for `epochs`; evaluate on the validation split each epoch and on the test split at the end."""
    torch.manual_seed(seed)
    backbone = build_backbone(backbone_name)
    load_weights(backbone, weights)
    network = backbone.network.eval().requires_grad_(False)
    normalise = transforms.Normalize(backbone.preprocessing.mean, backbone.preprocessing.deviation)
    augment = transforms.Compose(
        [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalise]
    )
    plain = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor(), normalise])
    train = datasets.ImageFolder(root / "train", augment)
    others = {split: datasets.ImageFolder(root / split, plain) for split in ("validation", "test")}
    head = nn.Sequential(nn.Linear(backbone.width, 128), nn.ReLU(), nn.Linear(128, len(train.classes)))
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)

    def accuracy(split: str) -> float:
        with torch.no_grad():
            loader = DataLoader(others[split], batch_size=32)
            right = sum(int((head(network(images)).argmax(1) == labels).sum()) for images, labels in loader)
        return right / len(others[split])

    started = time.perf_counter()
    for epoch in range(epochs):
        for images, labels in DataLoader(train, batch_size=32, shuffle=True):
            loss = nn.functional.cross_entropy(head(network(images)), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        print(f"  reference epoch {epoch + 1}/{epochs}: validation accuracy {accuracy('validation'):.3f}", flush=True)
    test = accuracy("test")
    passes = epochs * (len(train) + len(others["validation"])) + len(others["test"])
    return Reference(time.perf_counter() - started, passes, len(others["test"]), test)


@dataclass(frozen=True)
class Ours:
    """The times and the accuracy of our loop; the wall time includes imports, checks and saving the model."""

    wall_seconds: float
    work_seconds: float  # embed + fit + test
    test_accuracy: float
    engine: str


def run_ours(root: Path, backbone: str, weights: Path | None, *, views: int, seed: int) -> Ours:
    """Run training.train as a process of its own, for the same number of epochs.

    Raises:
        SystemExit: the training failed; the message has the end of its output.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        settings = f"--backbone {backbone} --epochs {EPOCHS} --patience {EPOCHS} --views {views} --seed {seed}".split()
        command = [sys.executable, "-m", "training.train", *settings, *channels(root, model, weights)]
        started = time.perf_counter()
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, timeout=3600)
        wall = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"training.train ended with exit status {done.returncode}:\n{done.stdout[-2000:]}")
        meta = json.loads((model / "meta.json").read_text())
    work = sum(meta["seconds"][phase] for phase in ("embed", "fit", "test"))
    return Ours(wall, work, meta["metrics"]["test_accuracy"], meta["engine"]["name"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a zip in the reference layout")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--images", type=int, default=8351, help="pictures of the second comparison; 0 skips it")
    parser.add_argument("--views", type=int, default=1, help="views per picture; 1 means no augmentation")
    parser.add_argument(
        "--reference-epochs",
        type=int,
        default=EPOCHS,
        help="epochs that the reference runs; with fewer, its time is scaled up",
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of ours; the median is used")
    given = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        photos = read_zip(given.data)
        write_folders(photos, root / "folders")
        write_shards(photos, root / "shards")
        weights = _weights(given.backbone, root)
        print(
            f"{hardware()}; torch {torch.__version__}; {given.backbone}, {'ImageNet' if weights else 'RANDOM'} weights"
        )
        reference = run_reference(root / "folders", given.backbone, weights, epochs=given.reference_epochs, seed=0)
        ours = [
            run_ours(root / "shards", given.backbone, weights, views=given.views, seed=seed)
            for seed in range(given.repeats)
        ]
        _report_small(reference, ours, len(photos), given.reference_epochs)
        if given.images > len(photos):
            write_shards(repeated(photos, given.images), root / "many")
            large = run_ours(root / "many", given.backbone, weights, views=given.views, seed=0)
            _report_large(reference, large, given.images)


def _weights(backbone: str, root: Path) -> Path | None:
    if backbone != "efficientnet_lite0":
        return None
    export_packaged(backbone, root / "weights" / "backbone.safetensors")
    return root / "weights"


def _report_small(reference: Reference, ours: list[Ours], images: int, epochs: int) -> None:
    wall, work = (statistics.median(getattr(run, name) for run in ours) for name in ("wall_seconds", "work_seconds"))
    scaled = reference.seconds_for(images)
    note = "" if epochs == EPOCHS else f" (scaled from {epochs} epochs)"
    accuracies = ", ".join(f"{run.test_accuracy:.4f}" for run in ours)
    rate = reference.passes / reference.seconds
    print(f"{images} photos, {EPOCHS} epochs: reference {scaled:.1f} s{note}, {rate:.1f} img/s")
    print(
        f"  ours ({ours[0].engine}), median of {len(ours)}: {wall:.1f} s whole process, {work:.2f} s embed + fit + test"
    )
    print(f"  ratio {scaled / wall:.1f}x whole process, {scaled / work:.1f}x embed + fit + test")
    print(f"  test accuracy: reference {reference.test_accuracy:.4f} after {epochs} epochs, ours {accuracies}")


def _report_large(reference: Reference, ours: Ours, images: int) -> None:
    expected = reference.seconds_for(images)
    print(f"{images} pictures (training photos repeated), {EPOCHS} epochs:")
    print(f"  reference {expected:.0f} s, EXTRAPOLATED from its measured rate over {reference.passes} pictures")
    print(f"  ours {ours.wall_seconds:.1f} s whole process, {ours.work_seconds:.1f} s embed + fit + test, measured")
    ratio = expected / ours.wall_seconds
    print(f"  ratio {ratio:.1f}x (goal {GOAL:.0f}x: {'reached' if ratio >= GOAL else 'NOT reached'})")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    main()
