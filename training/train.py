"""Train an image classifier on a staged dataset, in one process or by torchrun, locally, on SageMaker or on EC2.

    python -m training.train --backbone efficientnet_lite0 --train DIR --validation DIR --test DIR --manifest DIR \
        --weights DIR --model-dir DIR
    torchrun --nnodes=2 --node_rank=... --master_addr=... training/train.py --backbone resnet50 --epochs 10

The stages, in reading order (`train` below): read the manifest; build the backbone and load its weights; choose the
fastest engine that agrees with torch fp32; embed the training and validation splits once, each rank its own shards; fit
the head on the embeddings; fine-tune the whole network if `--finetune` is set; measure the test split once; save the
model on rank 0. With `--trials`, a search chooses the hyperparameters of the head, or of the fine-tuning, first.

The exit status is 0 with a model, 1 with a failure file and no model, and 143 after SIGTERM. In that case the same
command resumes from the checkpoint.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from training.config import DEFAULT_OUTPUT_DIR, Config, parse_config
from training.distributed import join_ranks, threads_per_rank
from training.engines import TOLERANCE, choose_engine
from training.failures import Interrupted, TrainingFailure, clear_failure, write_failure
from training.finetune import ImageTask
from training.job import Job
from training.model import Classifier, Embedder
from training.output import utf8_output
from training.search import Search, choose_hyperparameters
from training.search_space import FINETUNE_SPACE, HEAD_SPACE
from training.shards import read_manifest
from training.stages import (
    Pictures,
    check_channels,
    check_labels,
    embedding_plan,
    finetune,
    fit_head,
    load_backbone,
    measure_test_split,
    one_thread,
    reference_images,
    save,
    split_embedder,
)
from training.trial_models import HeadTrials, NetworkTrials

EXIT_FAILED, EXIT_INTERRUPTED = 1, 143


# --- the job ----------------------------------------------------------------------------------------------------------


def train(job: Job) -> None:
    """Run every stage; rank 0 writes the model to the model folder.

    Raises:
        TrainingFailure: the job cannot produce a model.
        Interrupted: a rank received SIGTERM; what was finished is in the checkpoint folder, if there is one.
    """
    world, manifest, folders = job.world, job.manifest, job.config.folders
    is_finetuned, is_searched = job.config.hyperparameters.finetune, job.config.hyperparameters.trials > 0
    search = None

    with job.phase("prepare"):
        world.run_on_every_rank(lambda: check_channels(job))
        backbone, weights = world.run_on_every_rank(lambda: load_backbone(job))
        embedder = Embedder(backbone).eval().requires_grad_(False)
        reference = world.run_on_every_rank(lambda: reference_images(job, backbone))
        choice = choose_engine(embedder, reference, device=world.device, threads=job.threads, say=job.say)
        job.say(f"engine={choice.engine.name} error={choice.error:.4f} tolerance={TOLERANCE} images={choice.images}")

    # Each picture goes through the frozen backbone once.
    plan = embedding_plan(job, backbone, weights, choice)
    evaluation_plan = replace(plan, views=1)
    splits = split_embedder(job, choice)
    with job.phase("embed"):
        training = splits.embed("train", manifest.splits["train"], folders.train, plan)
        validation = splits.embed("validation", manifest.splits["validation"], folders.validation, evaluation_plan)
        check_labels(training, manifest)

    if is_searched and not is_finetuned:
        with job.phase("search"), one_thread():
            trials = HeadTrials(training, validation, job)
            search = choose_hyperparameters(Search.of(job, HEAD_SPACE, trials, repr(plan)))

    with job.phase("fit"), one_thread():
        task, fitted = fit_head(job, training, validation, plan)
    classifier = Classifier(embedder, task.folded())

    images: ImageTask | None = None
    if is_finetuned:
        with job.phase("finetune"):
            classifier.to(world.device).requires_grad_(True)
            pictures = Pictures.of(job)
            if is_searched:
                networks = NetworkTrials(classifier, backbone.preprocessing, job, pictures)
                search = choose_hyperparameters(Search.of(job, FINETUNE_SPACE, networks, repr(plan)))
            images = ImageTask(classifier, backbone.preprocessing, job.config.hyperparameters, world, job.threads)
            fitted = finetune(job, classifier, images, pictures, plan)

    # The test split is used here only, so that it stays unseen data.
    with job.phase("test"):
        test = measure_test_split(job, splits, evaluation_plan, images, lambda embeddings: task.evaluator(embeddings)())

    with job.phase("save"):
        world.run_on_every_rank(
            lambda: save(job, classifier, backbone, weights, choice, fitted, test, search, reference)
        )


# --- the process ------------------------------------------------------------------------------------------------------


def run(config: Config, interrupted: threading.Event) -> None:
    """Join the other ranks and train.

    Raises:
        TrainingFailure, Interrupted: as `train`.
    """
    with join_ranks(os.environ, config.collective_timeout_seconds) as world:
        threads = threads_per_rank(world, config.threads)
        torch.set_num_threads(threads)
        manifest = world.run_on_every_rank(lambda: read_manifest(config.folders.manifest))
        job = Job(config, world, manifest, interrupted, threads)
        started = time.perf_counter()
        train(job)
        job.say(f"done in {time.perf_counter() - started:.1f} s: {json.dumps(job.seconds)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the configuration and train; return the exit status (0, 1 or 143)."""
    interrupted = threading.Event()
    previous_handler = signal.signal(signal.SIGTERM, lambda *_: interrupted.set())
    output: Path | None = Path(os.environ.get("SM_OUTPUT_DIR", DEFAULT_OUTPUT_DIR))
    try:
        config = parse_config(sys.argv[1:] if arguments is None else arguments)
        output = config.folders.output
        clear_failure(output)
        run(config, interrupted)
    except Interrupted as interruption:
        print(f"INTERRUPTED: {interruption}", flush=True)
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
        signal.signal(signal.SIGTERM, previous_handler)
    return 0


if __name__ == "__main__":
    with utf8_output():
        status = main()
    sys.exit(status)
