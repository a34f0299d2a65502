"""Train a classifier of staged pictures: one script for one process, torchrun on n hosts, SageMaker and EC2.

    python -m training.train --backbone efficientnet_lite0 --train DIR --validation DIR --test DIR --manifest DIR \
        --weights DIR --model-dir DIR
    torchrun --nnodes=2 --node_rank=... --master_addr=... training/train.py --backbone resnet50 --epochs 10

The stages, in reading order (`train` below): read the manifest; build the backbone and load its weights; choose the
fastest engine that agrees with torch fp32; embed train and validation, each rank its own shards, once; fit the head on
the embeddings; fine-tune the whole network if asked; measure the test split, once; save on rank 0. Ends 0 with a model,
1 with a failure file and no model, 143 when interrupted (SIGTERM) with a checkpoint from which the same command goes
on.
"""

import hashlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.checkpoint import FitCheckpoint, ShardCache
from training.config import DEFAULT_OUTPUT_DIR, Config, parse_config, views_of_each
from training.distributed import World, joined, usable_threads
from training.embed import Embeddings, Plan, SplitEmbedder, views_of
from training.engines import TOLERANCE, Choice, choose_engine
from training.export import git_commit, save_model, serving_precision, versions
from training.failures import Interrupted, TrainingFailure, clear_failure, write_failure
from training.finetune import ImageTask
from training.fit import Fit, Fitted, Metrics, Schedule
from training.heads import HeadTask
from training.model import HEAD_WIDTH, Backbone, Classifier, Embedder, build_backbone
from training.preprocess import Pixels
from training.shards import Manifest, Sample, assign_shards, names_in, read_manifest, read_shard
from training.weights import load_weights

META_FORMAT = 1
EXIT_FAILED, EXIT_INTERRUPTED = 1, 143
_REFERENCE_IMAGES = 4


@dataclass
class Job:
    """What every stage needs: the configuration, this rank, the data's manifest, and the seconds each stage took."""

    config: Config
    world: World
    manifest: Manifest
    interrupted: threading.Event
    threads: int
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def views(self) -> int:
        """How many views of each training picture are embedded."""
        return views_of_each(self.config.hyperparameters, self.manifest.images("train"))

    def say(self, message: str) -> None:
        """Print a line with this rank's name in front."""
        print_line(f"host={self.world.host} rank={self.world.rank} {message}")

    def check_interrupted(self) -> None:
        if self.interrupted.is_set():
            raise Interrupted(
                f"stopped by SIGTERM while embedding; finished shards: {self.config.folders.checkpoint or 'not kept'}"
            )

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 3)


def print_line(line: str) -> None:
    """Print in one write, so that the lines of ranks sharing a log do not mix."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


# --- the job ----------------------------------------------------------------------------------------------------------


def train(job: Job) -> None:
    """Run every stage; rank 0 leaves the model in the model folder.

    Raises:
        TrainingFailure: no sound model can come of this job. Interrupted: SIGTERM came; the checkpoint is saved.
    """
    config, world, manifest = job.config, job.world, job.manifest
    hyperparameters, folders = config.hyperparameters, config.folders
    classes = len(manifest.classes)

    with job.phase("prepare"):
        world.together(lambda: _check_channels(job))
        backbone, weights = world.together(lambda: _load_backbone(job))
        embedder = Embedder(backbone).eval().requires_grad_(False)
        reference = world.together(lambda: _reference_images(job, backbone))
        choice = choose_engine(embedder, reference, device=world.device, threads=job.threads, say=job.say)
        job.say(f"engine={choice.engine.name} error={choice.error:.4f} tolerance={TOLERANCE} images={choice.images}")

    # Each picture goes through the frozen backbone once.
    plan = _plan(job, backbone, weights, choice)
    splits = SplitEmbedder(
        world,
        choice.engine,
        threads=job.threads,
        cache=ShardCache(folders.checkpoint, job.say),
        say=job.say,
        check_interrupted=job.check_interrupted,
    )
    with job.phase("embed"):
        training = splits.embed("train", manifest.splits["train"], folders.train, plan)
        plain = Plan(**{**vars(plan), "views": 1})
        validation = splits.embed("validation", manifest.splits["validation"], folders.validation, plain)
        _check_labels(training, manifest)

    with job.phase("fit"), _one_thread():
        task = HeadTask.of(training, classes, hyperparameters, world)
        optimizer = torch.optim.AdamW(
            task.head.parameters(),
            lr=hyperparameters.learning_rate,
            weight_decay=hyperparameters.weight_decay,
            fused=True,
        )
        fitted = _fit(job, task.head, optimizer, plan, stage="head").run(
            Schedule(hyperparameters.epochs, hyperparameters.patience),
            batches=task.batches,
            evaluate=task.evaluator(validation),
        )
    classifier = Classifier(embedder, task.folded())

    images: ImageTask | None = None
    if hyperparameters.finetune:
        with job.phase("finetune"):
            images = ImageTask(classifier.to(world.device), backbone.preprocessing, hyperparameters, world, job.threads)
            fitted = _finetune(job, classifier, images, plan)

    # The only touch of the test split.
    with job.phase("test"):
        test = _test(job, splits, plain, images, lambda found: task.evaluator(found)())

    with job.phase("save"):
        world.together(lambda: _save(job, classifier, backbone, weights, choice, fitted, test, reference))


# --- stages -----------------------------------------------------------------------------------------------------------


def _check_channels(job: Job) -> None:
    """Every shard of every split must be on some host before anything is computed."""
    folders = job.config.folders
    for split, folder in (("train", folders.train), ("validation", folders.validation), ("test", folders.test)):
        assign_shards(job.manifest.splits.get(split, ()), job.world.gather_objects(names_in(folder)))


def _load_backbone(job: Job) -> tuple[Backbone, str]:
    """The backbone with its weights, and what identifies them."""
    name, seed = job.config.hyperparameters.backbone, job.config.hyperparameters.seed
    torch.manual_seed(seed)
    backbone = build_backbone(name)
    digest = load_weights(backbone, job.config.folders.weights)
    if digest is None and job.world.is_first:
        job.say(
            f"WARNING: no weights channel: {name} has RANDOM weights (seed {seed}); good for shape, not for accuracy"
        )
    return backbone, digest or f"random, seed {seed}"


def _reference_images(job: Job, backbone: Backbone) -> Pixels:
    """A few plain views of this rank's training pictures, (N, crop, crop, 3): engine and graph are checked on them."""
    samples = _own_samples(job, "train", job.config.folders.train, shards=1)[:_REFERENCE_IMAGES]
    plan = Plan(backbone.preprocessing, 1, 0, 0, 0, "", "")
    side = backbone.preprocessing.crop
    noise = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)  # for a rank without pictures
    return np.concatenate([views_of(sample, plan) for sample in samples] or [noise])


def _own_samples(job: Job, split: str, folder: Path | None, shards: int | None = None) -> list[Sample]:
    """The encoded pictures of this rank's first `shards` shards of a split (None = all)."""
    present = job.world.gather_objects(names_in(folder))
    mine = assign_shards(job.manifest.splits.get(split, ()), present)[job.world.rank]
    classes = len(job.manifest.classes)
    return [sample for shard in mine[:shards] for sample in read_shard(folder or Path(), shard, classes=classes)]


def _plan(job: Job, backbone: Backbone, weights: str, choice: Choice) -> Plan:
    engines = sorted(set(job.world.gather_objects(choice.engine.name)))
    if len(engines) > 1:
        job.say(
            f"WARNING: the hosts use different engines ({', '.join(engines)}): features differ within the tolerance"
        )
    hyperparameters = job.config.hyperparameters
    return Plan(
        preprocessing=backbone.preprocessing,
        views=job.views,
        seed=hyperparameters.seed,
        classes=len(job.manifest.classes),
        width=backbone.width,
        weights=weights,
        engine="+".join(engines),
    )


def _check_labels(training: Embeddings, manifest: Manifest) -> None:
    """The pictures that were read must be those the manifest counts, class by class."""
    found = torch.bincount(training.labels, minlength=len(manifest.classes)).tolist()
    for name, images in zip(manifest.classes, found, strict=True):
        promised = manifest.counts["train"][name]
        if images == 0 or images != promised:
            raise TrainingFailure(f"class {name!r} has {images} training images where the manifest says {promised}")


def _fit(
    job: Job, model: torch.nn.Module, optimizer: torch.optim.Optimizer, plan: Plan, *, stage: str, is_bf16: bool = False
) -> Fit:
    facts = [asdict(job.config.hyperparameters), job.manifest.digest, repr(plan), stage, is_bf16]
    checkpoint = FitCheckpoint(
        job.config.folders.checkpoint,
        stage,
        fingerprint=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
        interval_seconds=job.config.checkpoint_interval_seconds,
        say=job.say,
    )
    return Fit(
        model,
        optimizer,
        world=job.world,
        checkpoint=checkpoint,
        interrupted=job.interrupted,
        say=print_line,
        classes=len(job.manifest.classes),
        is_bf16=is_bf16,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """A head's steps are too small to share: 2 ms on one thread, 2 to 7 ms on two (2048 wide, batch 32, float64)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _finetune(job: Job, classifier: Classifier, images: ImageTask, plan: Plan) -> Fitted:
    if job.world.device.type == "cpu" and job.world.is_first:
        job.say(
            "WARNING: fine-tuning on a CPU: each epoch runs the whole network forwards and backwards for every picture"
        )
    folders, hyperparameters = job.config.folders, job.config.hyperparameters
    training = job.world.together(lambda: _own_samples(job, "train", folders.train))
    validation = job.world.together(lambda: _own_samples(job, "validation", folders.validation))
    classifier.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        classifier.parameters(), lr=hyperparameters.finetune_learning_rate, weight_decay=hyperparameters.weight_decay
    )
    fit = _fit(job, classifier, optimizer, plan, stage="finetune", is_bf16=images.is_bf16)
    return images.fit(fit, training, validation)


def _test(
    job: Job, splits: SplitEmbedder, plan: Plan, images: ImageTask | None, evaluate: Callable[[Embeddings], Metrics]
) -> Metrics | None:
    """Metrics on the test split, by the head or by the fine-tuned network; None when the data has no such split."""
    shards, folder = job.manifest.splits.get("test", ()), job.config.folders.test
    if not shards:
        job.say("WARNING: the dataset has no test images: nothing is measured on unseen data")
        return None
    if images is not None:
        metrics = images.evaluate(job.world.together(lambda: _own_samples(job, "test", folder)))
    else:
        metrics = evaluate(splits.embed("test", shards, folder, plan))
    if job.world.is_first:
        print(
            f"test_accuracy={metrics.accuracy:.4f} test_loss={metrics.loss:.6f} test_images={metrics.images}",
            flush=True,
        )
    return metrics


def _save(
    job: Job,
    classifier: Classifier,
    backbone: Backbone,
    weights: str,
    choice: Choice,
    fitted: Fitted,
    test: Metrics | None,
    images: Pixels,
) -> None:
    if not job.world.is_first:
        return
    metrics: dict[str, float] = {f"validation_{name}": value for name, value in asdict(fitted.validation).items()}
    metrics |= {f"test_{name}": value for name, value in asdict(test).items()} if test else {}
    meta: dict[str, Any] = {
        "format": META_FORMAT,
        "backbone": backbone.name,
        "classes": list(job.manifest.classes),
        "preprocessing": asdict(backbone.preprocessing),
        "head": [backbone.width, HEAD_WIDTH, len(job.manifest.classes)],
        "config": {**asdict(job.config.hyperparameters), "views": job.views},
        "weights": weights,
        "data_name": job.manifest.name,
        "data_digest": job.manifest.digest,
        "data_images": {split: job.manifest.images(split) for split in job.manifest.splits},
        "git_commit": git_commit(os.environ),
        "versions": versions(),
        "metrics": {**metrics, "best_epoch": fitted.best_epoch, "epochs": fitted.epochs},
        "engine": {"name": choice.engine.name, "error": choice.error, "tolerance": TOLERANCE, "images": choice.images},
        "ranks": job.world.size,
        "device": job.world.device.type,
        "seconds": job.seconds,
    }
    errors = save_model(classifier, meta, images=images, target=job.config.folders.model)
    verified = " ".join(f"{precision}={error:.2g}" for precision, error in errors.items())
    if serving_precision(errors) == "f32" and "bf16" in errors:
        job.say(f"WARNING: the graph will be served in f32: bf16 changes a probability by {errors['bf16']:.2g}")
    job.say(f"model saved; graph against torch fp32 on {len(images)} images, largest probability error: {verified}")


# --- the process ------------------------------------------------------------------------------------------------------


def run(config: Config, interrupted: threading.Event) -> None:
    """Join the other ranks and train.

    Raises:
        TrainingFailure, Interrupted: as `train`.
    """
    with joined(os.environ, config.collective_timeout_seconds) as world:
        threads = usable_threads(world, config.threads)
        torch.set_num_threads(threads)
        manifest = world.together(lambda: read_manifest(config.folders.manifest))
        job = Job(config, world, manifest, interrupted, threads)
        started = time.perf_counter()
        train(job)
        job.say(f"done in {time.perf_counter() - started:.1f} s: {json.dumps(job.seconds)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status (0, 1 or 143)."""
    interrupted = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: interrupted.set())
    output: Path | None = Path(os.environ.get("SM_OUTPUT_DIR", DEFAULT_OUTPUT_DIR))
    try:
        config = parse_config(sys.argv[1:] if arguments is None else arguments)
        output = config.folders.output
        clear_failure(output)
        run(config, interrupted)
    except Interrupted as stop:
        print(f"INTERRUPTED: {stop}", flush=True)
        return EXIT_INTERRUPTED
    except TrainingFailure as failure:
        print(f"FAILED: {failure}", file=sys.stderr, flush=True)
        write_failure(str(failure), output)
        return EXIT_FAILED
    except Exception as error:
        traceback.print_exc()
        write_failure(f"{type(error).__name__}: {error}", output)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


if __name__ == "__main__":
    sys.exit(main())
