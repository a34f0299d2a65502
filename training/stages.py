"""The stages of a training job that need more than one line in train.py, in the order in which it calls them."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.adamw import AdamW
from training.checkpoint import FitCheckpoint, ShardCache
from training.embed import Embeddings, Plan, SplitEmbedder, views_of
from training.engines import TOLERANCE, Choice
from training.export import git_commit, save_model, serving_precision, versions
from training.failures import TrainingFailure
from training.finetune import ImageTask, network_optimizer
from training.fit import Fit, FitResult, Metrics, measure
from training.heads import HeadTask
from training.job import Job, print_line
from training.model import Backbone, Classifier, build_backbone
from training.predictions import LogitsAndLabels, Predictions
from training.preprocess import Pixels
from training.shards import Manifest, Sample, assign_shards, read_shard, shard_files_in
from training.weights import load_weights, stated_preprocessing

META_FORMAT = 1
_CHECKPOINT_FORMAT = 3
_REFERENCE_IMAGES = 4


def check_channels(job: Job, splits: Sequence[str]) -> None:
    """Check that some host has each shard of these splits.

    Raises:
        TrainingFailure: no host has some shard.
    """
    folders = job.config.folders
    for split, folder in {name: getattr(folders, name) for name in splits}.items():
        assign_shards(job.manifest.splits.get(split, ()), job.world.gather_objects(shard_files_in(folder)))


def load_backbone(job: Job) -> tuple[Backbone, str]:
    """Return the backbone with its weights loaded, and the sha256 of the weights (or the seed of random ones).

    Raises:
        TrainingFailure: there is no such backbone, or the weights do not fit it or are damaged.
    """
    name, seed = job.config.hyperparameters.backbone, job.config.hyperparameters.seed
    folder = job.config.folders.weights
    torch.manual_seed(seed)
    backbone = build_backbone(name, stated_preprocessing(folder))
    digest = load_weights(backbone, folder, os.environ.get("KENNEL_WEIGHTS_SHA256"))
    if digest is None and job.world.is_first:
        job.say(
            f"WARNING: there is no weights channel: {name} has RANDOM weights (seed {seed}), so expect a low accuracy"
        )
    used = backbone.preprocessing
    if job.world.is_first:
        job.say(f"pictures: resize={used.resize} crop={used.crop} interpolation={used.interpolation}")
    return backbone, digest or f"random, seed {seed}"


def reference_images(job: Job, backbone: Backbone) -> Pixels:
    """Return evaluation views of a few training pictures, (N, crop, crop, 3), to check the engine and the graph."""
    samples = _own_samples(job, "train", job.config.folders.train, shards=1)[:_REFERENCE_IMAGES]
    plan = Plan(backbone.preprocessing, 1, 0, 0, 0, "", "")
    side = backbone.preprocessing.crop
    noise = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)  # used by a rank without pictures
    return np.concatenate([views_of(sample, plan) for sample in samples] or [noise])


def _own_samples(job: Job, split: str, folder: Path | None, shards: int | None = None) -> list[Sample]:
    """Return the encoded pictures in the first `shards` of this rank's shards of a split (None: in all)."""
    present = job.world.gather_objects(shard_files_in(folder))
    mine = assign_shards(job.manifest.splits.get(split, ()), present)[job.world.rank]
    classes = len(job.manifest.classes)
    return [sample for shard in mine[:shards] for sample in read_shard(folder or Path(), shard, classes=classes)]


def embedding_plan(job: Job, backbone: Backbone, weights: str, choice: Choice) -> Plan:
    """Return the plan that all ranks embed by; warn when their engines differ."""
    engines = sorted(set(job.world.gather_objects(choice.engine.name)))
    if len(engines) > 1:
        job.say(
            f"WARNING: the hosts use different engines ({', '.join(engines)}); features differ within the tolerance"
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


def split_embedder(job: Job, choice: Choice) -> SplitEmbedder:
    """Return what embeds a split on this rank."""
    return SplitEmbedder(
        job.world,
        choice.engine,
        threads=job.threads,
        cache=ShardCache(job.config.folders.checkpoint, job.say),
        say=job.say,
        check_interrupted=job.check_interrupted,
    )


def check_labels(training: Embeddings, manifest: Manifest) -> None:
    """Check that each class has as many training pictures as the manifest lists.

    Raises:
        TrainingFailure: a class has none, or another number of them.
    """
    found = torch.bincount(training.labels, minlength=len(manifest.classes)).tolist()
    for name, images in zip(manifest.classes, found, strict=True):
        listed = manifest.counts["train"][name]
        if images == 0 or images != listed:
            raise TrainingFailure(f"class {name!r} has {images} training images, but the manifest lists {listed}")


def make_fit(
    job: Job,
    model: torch.nn.Module,
    optimizer: AdamW,
    plan: Plan,
    *,
    stage: str,
    shares_batches: bool = True,
    is_bf16: bool = False,
) -> Fit:
    """Return the epoch loop of one stage with its checkpoint, whose fingerprint covers data, weights and settings."""
    facts = [_CHECKPOINT_FORMAT, asdict(job.config.hyperparameters), job.manifest.digest, repr(plan), stage, is_bf16]
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
        label_smoothing=job.config.hyperparameters.label_smoothing,
        is_bf16=is_bf16,
        shares_batches=shares_batches,
    )


@dataclass(frozen=True)
class Pictures:
    """The encoded training and validation pictures of this rank."""

    training: Sequence[Sample]
    validation: Sequence[Sample]

    @staticmethod
    def of(job: Job) -> "Pictures":
        """Read this rank's shards.

        Raises:
            TrainingFailure: a shard is damaged, on any rank.
        """
        folders = job.config.folders
        if job.world.device.type == "cpu" and job.world.is_first:
            job.say(
                "WARNING: fine-tuning on a CPU is slow: each epoch runs the whole network forwards and backwards for "
                "every picture"
            )
        training = job.world.run_on_every_rank(lambda: _own_samples(job, "train", folders.train))
        validation = job.world.run_on_every_rank(lambda: _own_samples(job, "validation", folders.validation))
        return Pictures(training, validation)


def finetune(job: Job, classifier: Classifier, images: ImageTask, pictures: Pictures, plan: Plan) -> FitResult:
    """Fine-tune the whole network, starting from the fitted head; leave the best weights in the classifier.

    Raises:
        TrainingFailure, Interrupted: as `Fit.run`.
    """
    optimizer = network_optimizer(classifier, job.config.hyperparameters)
    fit = make_fit(job, classifier, optimizer, plan, stage="finetune", is_bf16=images.is_bf16)
    return images.fit(fit, pictures.training, pictures.validation)


@dataclass(frozen=True)
class Tested:
    """What the test split showed: the metrics, and what they were counted from."""

    metrics: Metrics
    predictions: Predictions


def measure_test_split(
    job: Job, splits: SplitEmbedder, plan: Plan, images: ImageTask | None, head: HeadTask
) -> Tested | None:
    """Measure the head or the fine-tuned network on the test split; return None when the dataset has none.

    Raises:
        TrainingFailure, Interrupted: any rank failed or was interrupted.
    """
    if not job.manifest.splits.get("test", ()):
        job.say("WARNING: the dataset has no test images, so the model is not measured on unseen data")
        return None
    index, found = _test_logits(job, splits, plan, images, head)
    metrics = measure(found, job.world)
    if job.world.is_first:
        print(
            f"test_accuracy={metrics.accuracy:.4f} test_loss={metrics.loss:.6f} test_images={metrics.images}",
            flush=True,
        )
    return Tested(metrics, Predictions.of(index, found, len(job.manifest.classes), job.world))


def _test_logits(
    job: Job, splits: SplitEmbedder, plan: Plan, images: ImageTask | None, head: HeadTask
) -> tuple[torch.Tensor, list[LogitsAndLabels]]:
    """Return this rank's part of the test split: the indices of its pictures, (n,), and their logits and labels."""
    folder = job.config.folders.test
    if images is not None:
        samples = job.world.run_on_every_rank(lambda: _own_samples(job, "test", folder))
        return torch.tensor([sample.index for sample in samples], dtype=torch.int64), list(images.logits(samples))
    split = splits.embed("test", job.manifest.splits["test"], folder, plan)
    return (split.index if job.world.is_first else split.index[:0]), list(head.logits(split))


def save(
    job: Job,
    classifier: Classifier,
    backbone: Backbone,
    weights: str,
    choice: Choice,
    fits: Mapping[str, FitResult],
    test: Tested | None,
    search: Mapping[str, Any] | None,
    images: Pixels,
) -> None:
    """Write the model on rank 0; the serving graph is compared with torch on `images`, (N, crop, crop, 3) uint8.

    `fits` are those that led to it, by stage; the weights are those of the last one.

    Raises:
        TrainingFailure: as `save_model`.
    """
    if not job.world.is_first:
        return
    fitted = list(fits.values())[-1]
    metrics: dict[str, float] = {f"validation_{name}": value for name, value in asdict(fitted.validation).items()}
    metrics |= {f"test_{name}": value for name, value in asdict(test.metrics).items()} if test else {}
    meta: dict[str, Any] = {
        "format": META_FORMAT,
        "backbone": backbone.name,
        "classes": list(job.manifest.classes),
        "preprocessing": asdict(backbone.preprocessing),
        "head": [backbone.width, job.config.hyperparameters.head_width, len(job.manifest.classes)],
        "config": {**asdict(job.config.hyperparameters), "views": job.views},
        "weights": weights,
        "data_name": job.manifest.name,
        "data_digest": job.manifest.digest,
        "data_images": {split: job.manifest.images(split) for split in job.manifest.splits},
        "git_commit": git_commit(os.environ),
        "versions": versions(),
        "metrics": {**metrics, "best_epoch": fitted.best_epoch, "epochs": fitted.epochs},
        "curves": {stage: [asdict(epoch) for epoch in made.curve] for stage, made in fits.items()},
        "engine": {"name": choice.engine.name, "error": choice.error, "tolerance": TOLERANCE, "images": choice.images},
        "search": search,
        "ranks": job.world.size,
        "device": job.world.device.type,
        "seconds": job.seconds,
    }
    predictions = None if test is None else test.predictions
    errors = save_model(classifier, meta, predictions, images=images, target=job.config.folders.model)
    compared = " ".join(f"{precision}={error:.2g}" for precision, error in errors.items())
    if serving_precision(errors) == "f32" and "bf16" in errors:
        job.say(f"WARNING: the graph will be served in f32, because bf16 changes a probability by {errors['bf16']:.2g}")
    job.say(
        f"model saved; on {len(images)} images the graph's probabilities differ from torch fp32 by at most: {compared}"
    )
