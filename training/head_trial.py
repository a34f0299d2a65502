"""Train one head on embedded pictures: a trial of SageMaker's own tuner, which starts a job for each.

    python training/head_trial.py --learning_rate 0.001 --head_width 128 --features DIR --model-dir DIR

SageMaker passes the values that its tuner chose as arguments, by the names of its ranges. After each epoch the log has
the lowest validation loss so far, so the job's final metric is that of the head. The folder of the model gets
`trial.json`: the trial with the loss of each validation picture, from which the objective is found anew.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.config import DEFAULT_OUTPUT_DIR, LIMITS, Hyperparameters, Parser, between
from training.distributed import World, join_ranks
from training.engines import one_thread
from training.failures import TrainingFailure
from training.features import Features, read_features
from training.fit import Metrics
from training.job import print_line
from training.output import utf8_output
from training.process import run_process
from training.trial_models import HeadTrials
from training.trials import COMPLETE, Trial

FILE_NAME = "trial.json"
COLLECTIVE_TIMEOUT_SECONDS = 600.0
_NAMES = tuple(name for name in LIMITS if name not in {"views", "trials", "finetune_epochs", "finetune_learning_rate"})


@dataclass(frozen=True)
class TrialConfig:
    """The hyperparameters of one head, and the folders."""

    hyperparameters: Hyperparameters
    features: Path
    model: Path
    output: Path | None


def parse_trial(arguments: Sequence[str]) -> TrialConfig:
    """Parse the command line; folders that it does not name are SageMaker's.

    Raises:
        TrainingFailure: an argument is unknown, malformed or out of range, or a folder is not set.
    """
    parser, default = Parser(prog="training.head_trial", allow_abbrev=False), Hyperparameters()
    for name in _NAMES:
        kind = between(LIMITS[name].low, LIMITS[name].high, LIMITS[name].kind)
        parser.add_argument(f"--{name}", type=kind, default=getattr(default, name))
    for name, variable in (("features", "SM_CHANNEL_FEATURES"), ("model-dir", "SM_MODEL_DIR")):
        parser.add_argument(f"--{name}", type=Path, default=os.environ.get(variable))
    parser.add_argument("--output-dir", type=Path, default=os.environ.get("SM_OUTPUT_DIR", DEFAULT_OUTPUT_DIR))
    given = parser.parse_args(arguments)
    if given.features is None or given.model_dir is None:
        raise TrainingFailure("give --features and --model-dir, or set SM_CHANNEL_FEATURES and SM_MODEL_DIR")
    chosen = default.having({name: getattr(given, name) for name in _NAMES})
    return TrialConfig(chosen, Path(given.features), Path(given.model_dir), given.output_dir)


def try_head(chosen: Hyperparameters, features: Features, world: World, interrupted: threading.Event) -> Trial:
    """Train the head, tell the lowest validation loss after each epoch, and return the trial, whose number is 0.

    Raises:
        TrainingFailure: the loss is not finite or has exploded.
        Interrupted: the job received SIGTERM.
    """
    begun, measured = time.perf_counter(), list[Metrics]()

    def watch(metrics: Metrics) -> None:
        measured.append(metrics)
        best = min(measured, key=lambda each: each.loss)
        print_line(f"epoch={len(measured)} validation_loss={best.loss:.9g} validation_accuracy={best.accuracy:.6f}")

    heads = HeadTrials(features.training, features.validation, features.classes, world, interrupted)
    samples = heads.train(chosen, watch)
    best = min(measured, key=lambda each: each.loss)
    return Trial(
        number=0,
        parameters={name: getattr(chosen, name) for name in _NAMES},
        state=COMPLETE,
        losses=tuple(each.loss for each in measured),
        loss=best.loss,
        accuracy=best.accuracy,
        images=best.images,
        seconds=round(time.perf_counter() - begun, 3),
        sample_losses=samples,
    )


def write_trial(trial: Trial, folder: Path) -> None:
    """Write the trial as JSON, and tell it."""
    (folder / FILE_NAME).write_text(json.dumps(trial.facts))
    print_line(trial.line)


def run(config: TrialConfig, interrupted: threading.Event) -> None:
    """Read the features, train the head, and write the trial to the folder of the model.

    Raises:
        TrainingFailure: the features are missing or damaged, or as `try_head`.
        Interrupted: the job received SIGTERM.
    """
    with join_ranks(os.environ, COLLECTIVE_TIMEOUT_SECONDS) as world, one_thread():
        trial = try_head(config.hyperparameters, read_features(config.features), world, interrupted)
    write_trial(trial, config.model)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the configuration and train; return the exit status (0, 1 or 143)."""
    return run_process(arguments, parse_trial, run, lambda config: config.output)


if __name__ == "__main__":
    with utf8_output():
        status = main()
    sys.exit(status)
