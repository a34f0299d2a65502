"""Embed the training and validation pictures once and write what heads need, for the jobs of SageMaker's own tuner.

    python -m training.features_job --backbone efficientnet_lite0 --train DIR --validation DIR --manifest DIR \
        --weights DIR --model-dir DIR

The folder of the model gets the features, which `training/head_trial.py` reads, and the trial of the hyperparameters
that would be used without a search. The test split plays no part.
"""

import sys
import threading
from collections.abc import Sequence

from training.config import Config, parse_config
from training.embedding_stage import embed_both_splits
from training.engines import one_thread
from training.features import Features, write_features
from training.head_trial import try_head, write_trial
from training.job import Job, run_job
from training.output import utf8_output
from training.process import run_process


def embed(job: Job) -> None:
    """Embed both splits on all ranks; rank 0 writes them and trains the default head.

    Raises:
        TrainingFailure, Interrupted: as `embed_both_splits` and `try_head`.
    """
    made, chosen = embed_both_splits(job, "train", "validation"), job.config.hyperparameters
    if not job.world.is_first:
        return
    features = Features(made.training, made.validation, job.manifest.classes, job.manifest.digest, repr(made.plan))
    path = write_features(features, job.config.folders.model)
    job.say(f"features saved: {path.stat().st_size} bytes")
    with job.phase("default"), one_thread():
        trial = try_head(chosen, features, job.world, job.interrupted)
    write_trial(trial, job.config.folders.model)


def run(config: Config, interrupted: threading.Event) -> None:
    """Join the other ranks and embed.

    Raises:
        TrainingFailure, Interrupted: as `embed`.
    """
    run_job(config, interrupted, embed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the configuration and embed; return the exit status (0, 1 or 143)."""
    return run_process(arguments, parse_config, run, lambda config: config.folders.output)


if __name__ == "__main__":
    with utf8_output():
        status = main()
    sys.exit(status)
