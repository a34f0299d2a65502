"""The stage with which each job begins that sees pictures: the backbone, its engine, and two splits embedded once."""

from dataclasses import dataclass, replace

from training.embed import Embeddings, Plan, SplitEmbedder
from training.engines import TOLERANCE, Choice, choose_engine
from training.features import read_features
from training.job import Job
from training.model import Backbone, Embedder
from training.preprocess import Pixels
from training.stages import (
    check_channels,
    check_labels,
    embedding_plan,
    load_backbone,
    reference_images,
    split_embedder,
)


@dataclass(frozen=True)
class Embedded:
    """A backbone and what it made of the training and validation pictures; `reference`: (N, crop, crop, 3) uint8."""

    backbone: Backbone
    weights: str
    embedder: Embedder
    choice: Choice
    reference: Pixels
    plan: Plan
    splits: SplitEmbedder
    training: Embeddings
    validation: Embeddings

    @property
    def evaluation_plan(self) -> Plan:
        """The plan of pictures that are only measured: without augmented views."""
        return replace(self.plan, views=1)


def embed_both_splits(job: Job, *channels: str) -> Embedded:
    """Load the backbone, choose the fastest engine that agrees with torch fp32, and embed each picture once.

    `channels` are checked first: those of the splits that the job will use.

    Raises:
        TrainingFailure: a channel, the weights or a picture is damaged or missing, or no engine agrees.
        Interrupted: a rank received SIGTERM; finished shards are in the checkpoint folder, if there is one.
    """
    world, manifest, folders = job.world, job.manifest, job.config.folders
    with job.phase("prepare"):
        world.run_on_every_rank(lambda: check_channels(job, channels))
        backbone, weights = world.run_on_every_rank(lambda: load_backbone(job))
        embedder = Embedder(backbone).eval().requires_grad_(False)
        reference = world.run_on_every_rank(lambda: reference_images(job, backbone))
        choice = choose_engine(embedder, reference, device=world.device, threads=job.threads, say=job.say)
        job.say(f"engine={choice.engine.name} error={choice.error:.4f} tolerance={TOLERANCE} images={choice.images}")

    plan = embedding_plan(job, backbone, weights, choice)
    splits = split_embedder(job, choice)
    with job.phase("embed"):
        training, validation = _embedded_already(job, plan) or (
            splits.embed("train", manifest.splits["train"], folders.train, plan),
            splits.embed("validation", manifest.splits["validation"], folders.validation, replace(plan, views=1)),
        )
        check_labels(training, manifest)
    return Embedded(backbone, weights, embedder, choice, reference, plan, splits, training, validation)


def _embedded_already(job: Job, plan: Plan) -> tuple[Embeddings, Embeddings] | None:
    """Return the splits of the channel of features; None without one, or (logged) if this job would make others.

    Raises:
        TrainingFailure: the features are damaged.
    """
    folder = job.config.folders.features
    if folder is None:
        return None
    found = job.world.run_on_every_rank(lambda: read_features(folder))
    if (found.data_digest, found.plan) != (job.manifest.digest, repr(plan)):
        job.say("WARNING: the features were made of other data or in another way, so the pictures are embedded again")
        return None
    job.say(f"read the features of {len(found.training.labels)} training and {len(found.validation.labels)} others")
    return found.training, found.validation
