"""Compare a training that first searches with 20 trials with the same training without a search, in processor seconds.

    python -m benchmarks.tuning [--images 8351] [--repeats 3]

The photos are generated: two handwritten digits each (100 classes), turned, shifted and noisy. Both sides train the
defaults of `kennel run` in a process of its own and take turns; the ratio is that of the medians of user and system
time. Then three of the trials run as the usual tuner runs them, each as a training job on localaws, which embeds the
photos again; their real processor seconds are extrapolated to all trials. The search has to find a model whose
validation loss is not above the default's.
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
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import simplejpeg
from PIL import Image

from benchmarks.localaws_front import localaws
from benchmarks.staged_photos import Photo, channels, write_folders, write_shards
from tasks.data import staging
from tasks.data.judgement_cache import JudgementCache
from tasks.data.sample import read_digits
from tasks.model.weights import stage_weights
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.machine import hardware
from tasks.run.options import Network, TrainingOptions
from tasks.run.progress import LineProgress
from tasks.run.settings import Settings
from tasks.sagemaker.training import plan_training, train_on_sagemaker
from training.imagenet import export_packaged

GOAL = 1.3
TRIALS, JOBS = 20, 3
BACKBONE = "efficientnet_lite0"
SIDE_PX, DIGIT_PX = 256, 120
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
NOISE = 60.0
LIMIT_SECONDS = 3600


# --- the photos -------------------------------------------------------------------------------------------------------


def make_photos(images: int, seed: int = 0) -> list[Photo]:
    """Return photos of two digits each; no digit of one split is in another."""
    digits, random = read_digits(), np.random.default_rng(seed)
    pools = np.split(digits, [int(0.8 * len(digits)), int(0.9 * len(digits))])
    made = []
    for (split, share), pool in zip(SHARES.items(), pools, strict=True):
        for number in range(round(images * share)):
            names = (number % 100 // 10, number % 10)
            chosen = [random.choice(pool[pool[:, -1] == name]) for name in names]
            made.append(Photo(split, f"{names[0]}-{names[1]}", _photo(chosen, random)))
    return made


def _photo(digits: list[npt.NDArray[np.float64]], random: np.random.Generator) -> bytes:
    """Return a JPEG of digits of 8 x 8 grey levels of 0 to 16, each turned and shifted, on noisy paper."""
    paper = Image.new("L", (SIDE_PX, SIDE_PX), 235)
    for place, digit in enumerate(digits):
        ink = Image.fromarray((255 - digit[:-1].reshape(8, 8) * 15).astype(np.uint8)).resize((DIGIT_PX, DIGIT_PX))
        turned = ink.rotate(random.uniform(-25, 25), fillcolor=235)
        paper.paste(
            turned, (4 + place * 124 + int(random.integers(-4, 5)), int(random.integers(0, SIDE_PX - DIGIT_PX)))
        )
    grey = np.asarray(paper, np.float64)[..., None] + random.normal(0, NOISE, (SIDE_PX, SIDE_PX, 3))
    pixels = np.ascontiguousarray(grey.clip(0, 255).astype(np.uint8))
    return bytes(simplejpeg.encode_jpeg(pixels, quality=85, colorsubsampling="420"))


# --- one process ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """The user and system seconds of a training's process and its children, its wall time, and its meta.json."""

    cpu_seconds: float
    wall_seconds: float
    meta: dict[str, Any]

    @property
    def loss(self) -> float:
        """The validation loss of the model."""
        return float(self.meta["metrics"]["validation_loss"])


def train(root: Path, weights: Path, model: Path, *options: str) -> Training:
    """Run training.train to its end.

    Raises:
        SystemExit: the training failed; the message has the end of its output.
    """
    command = [sys.executable, "-m", "training.train", "--backbone", BACKBONE, *options]
    log, begun = model.with_suffix(".log"), time.perf_counter()
    with log.open("w") as out:
        process = subprocess.Popen([*command, *channels(root, model, weights)], stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"training.train ended with exit status {process.returncode}:\n{log.read_text()[-2000:]}")
    meta = json.loads((model / "meta.json").read_text())
    return Training(usage.ru_utime + usage.ru_stime, time.perf_counter() - begun, meta)


# --- a job a trial ----------------------------------------------------------------------------------------------------


def cpu_seconds_of_jobs(folder: Path, url: str, server: int, trials: list[dict[str, Any]]) -> list[float]:
    """Train each trial's hyperparameters as a job on localaws; return the processor seconds of each."""
    run = Run(Aws(Settings(endpoint_url=url, home=folder / "home", runs=folder / "runs")), "tuning")
    located = staging.locate(str(folder / "folders"), run.settings, LineProgress)
    run.keep(staging.judge_and_upload(located, JudgementCache(located, run.settings), run, LineProgress).dataset)
    found = []
    for trial in trials:
        training = TrainingOptions(backbone=BACKBONE, **trial["parameters"])
        stage_weights(run, training)
        plan, before = plan_training(run, training, Network()), _cpu_seconds(server)
        train_on_sagemaker(run, plan)
        found.append(_cpu_seconds(server) - before)
    return found


def _cpu_seconds(pid: int) -> float:
    """Return the processor seconds of localaws with its children, which ended."""
    return sum(psutil.Process(pid).cpu_times()[:4])


# --- the comparison ---------------------------------------------------------------------------------------------------


def main() -> None:
    """Run both sides in turns, then the jobs, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8351)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuning-") as name:
        folder = Path(name)
        photos = make_photos(given.images)
        write_shards(photos, folder / "shards")
        write_folders(photos, folder / "folders")
        export_packaged(BACKBONE, folder / "weights" / "backbone.safetensors")
        print(f"{len(photos):,} photos of 100 classes, {given.repeats} repeats, {hardware()}", flush=True)
        one, searched = [], []
        for number in range(given.repeats):
            one.append(train(folder / "shards", folder / "weights", folder / f"one-{number}"))
            with_trials = ("--trials", str(TRIALS))
            searched.append(train(folder / "shards", folder / "weights", folder / f"searched-{number}", *with_trials))
            print(f"round {number + 1}: {one[-1].cpu_seconds:.1f} s, {searched[-1].cpu_seconds:.1f} s", flush=True)
        report(one, searched)
        trials = searched[0].meta["search"]["trials"][1 : JOBS + 1]
        with localaws() as url:
            report_jobs(searched, cpu_seconds_of_jobs(folder, url, _server_pid(url), trials))


def _server_pid(url: str) -> int:
    """Return the process that listens at a URL of this machine."""
    port = int(url.rpartition(":")[2])
    found = [each for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr[1:] == (port,)]
    return int(found[0].pid or 0)


def report(one: list[Training], searched: list[Training]) -> None:
    """Print the ratio with its parts, and whether the goals were reached."""
    single, whole = (statistics.median(each.cpu_seconds for each in runs) for runs in (one, searched))
    ratio = whole / single
    print(f"one training {single:.1f} s of processor time, with {TRIALS} trials {whole:.1f} s")
    print(f"  ratio {ratio:.2f} (goal {GOAL:g} at most: {'reached' if ratio <= GOAL else 'NOT reached'})")
    walls = [statistics.median(each.wall_seconds for each in runs) for runs in (one, searched)]
    print(f"  wall time {walls[0]:.1f} s and {walls[1]:.1f} s")
    for name, run in (("one training", one[0]), (f"with {TRIALS} trials", searched[0])):
        print(f"  phases of {name}, wall s: {json.dumps(run.meta['seconds'])}")
    fit = statistics.median(each.meta["seconds"]["fit"] for each in one)
    print(f"  {TRIALS} x the default head would cost {TRIALS * fit:.1f} s ({fit:.2f} s each, one thread)")
    search, default, found = searched[0].meta["search"], one[0].loss, searched[0].loss
    states = [trial["state"] for trial in search["trials"]]
    print(f"  trial {search['winner']} won; {states.count('complete')} complete, {states.count('pruned')} cut")
    print(f"  trial against default, paired: {json.dumps(search['against_default'])}")
    verdict = "not above" if found <= default else "ABOVE"
    print(f"  validation loss of the model {found:.4f}, {verdict} the default's {default:.4f}")


def report_jobs(searched: list[Training], jobs: list[float]) -> None:
    """Print what a job a trial costs, extrapolated."""
    whole = statistics.median(each.cpu_seconds for each in searched)
    expected = TRIALS * statistics.mean(jobs)
    each = ", ".join(f"{seconds:.1f}" for seconds in jobs)
    print(f"{len(jobs)} trials as jobs on localaws: {each} s of processor time")
    print(f"  {TRIALS} jobs {expected:.0f} s, EXTRAPOLATED: {expected / whole:.1f} times the one job that searches")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    main()
