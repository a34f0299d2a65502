"""Train an image classifier on a staged dataset, in one process or on several hosts, locally, on SageMaker or on EC2.

    python -m training.train --backbone efficientnet_lite0 --train DIR --validation DIR --test DIR --manifest DIR \
        --weights DIR --model-dir DIR
    torchrun --nproc_per_node=4 training/train.py --backbone resnet50 --epochs 10  # several processes of one host

The stages, in reading order (`train` below): read the manifest; build the backbone and load its weights; choose the
fastest engine that agrees with torch fp32; embed the training and validation splits once, each rank its own shards; fit
the head on the embeddings; with `--trials`, search for better hyperparameters, and fit it anew if there are some;
fine-tune the whole network if `--finetune` is set, whose hyperparameters are then searched instead; measure the test
split once; save the model on rank 0.

The exit status is 0 with a model, 1 with a failure file and no model, and 143 after SIGTERM. In that case the same
command resumes from the checkpoint.
"""

import sys
import threading
from collections.abc import Sequence

from training.config import Config, parse_config
from training.embedding_stage import embed_both_splits
from training.finetune import ImageTask
from training.head_stage import make_head
from training.job import Job, run_job
from training.model import Classifier
from training.output import utf8_output
from training.process import run_process
from training.search import Search, choose_hyperparameters
from training.search_space import FINETUNE_SPACE
from training.stages import Pictures, finetune, measure_test_split, save
from training.trial_models import NetworkTrials

# --- the job ----------------------------------------------------------------------------------------------------------


def train(job: Job) -> None:
    """Run every stage; rank 0 writes the model to the model folder.

    Raises:
        TrainingFailure: the job cannot produce a model.
        Interrupted: a rank received SIGTERM; what was finished is in the checkpoint folder, if there is one.
    """
    world = job.world
    is_finetuned, is_searched = job.config.hyperparameters.finetune, job.config.hyperparameters.trials > 0

    made = embed_both_splits(job, "train", "validation", "test")
    training, validation, plan, backbone = made.training, made.validation, made.plan, made.backbone

    task, fitted, search = make_head(job, training, validation, plan)
    classifier = Classifier(made.embedder, task.folded())

    images: ImageTask | None = None
    fits = {"head": fitted}
    if is_finetuned:
        with job.phase("finetune"):
            classifier.to(world.device).requires_grad_(True)
            pictures = Pictures.of(job)
            if is_searched:
                networks = NetworkTrials(classifier, backbone.preprocessing, job, pictures)
                search = choose_hyperparameters(Search.of(job, FINETUNE_SPACE, networks, repr(plan)))
            images = ImageTask(classifier, backbone.preprocessing, job.config.hyperparameters, world, job.threads)
            fits["finetune"] = finetune(job, classifier, images, pictures, plan)

    # The test split is used here only, so that it stays unseen data.
    with job.phase("test"):
        test = measure_test_split(job, made.splits, made.evaluation_plan, images, task)

    with job.phase("save"):
        world.run_on_every_rank(
            lambda: save(job, classifier, backbone, made.weights, made.choice, fits, test, search, made.reference)
        )


# --- the process ------------------------------------------------------------------------------------------------------


def run(config: Config, interrupted: threading.Event) -> None:
    """Join the other ranks and train.

    Raises:
        TrainingFailure, Interrupted: as `train`.
    """
    run_job(config, interrupted, train)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the configuration and train; return the exit status (0, 1 or 143)."""
    return run_process(arguments, parse_config, run, lambda config: config.folders.output)


if __name__ == "__main__":
    with utf8_output():
        status = main()
    sys.exit(status)
