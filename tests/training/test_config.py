"""Tests of the configuration: the command line, SageMaker's environment, and invalid values."""

from pathlib import Path

import pytest

from training.config import Hyperparameters, parse_config, views_of_each
from training.failures import TrainingFailure

SAGEMAKER = {
    "SM_CHANNEL_TRAIN": "/in/train",
    "SM_CHANNEL_VALIDATION": "/in/validation",
    "SM_CHANNEL_MANIFEST": "/in/manifest",
    "SM_MODEL_DIR": "/model",
    "SM_OUTPUT_DIR": "/output",
}


def test_folders_come_from_sagemaker_and_the_command_line_wins() -> None:
    config = parse_config(["--train", "/mine", "--finetune", "false", "--epochs", "3"], SAGEMAKER)

    assert config.folders.train == Path("/mine")
    assert config.folders.validation == Path("/in/validation")
    assert config.folders.weights is None
    assert config.folders.output == Path("/output")
    assert (config.hyperparameters.epochs, config.hyperparameters.finetune) == (3, False)


def test_finetune_may_be_a_bare_flag_or_a_sagemaker_hyperparameter() -> None:
    assert parse_config(["--finetune"], SAGEMAKER).hyperparameters.finetune
    assert parse_config(["--finetune", "true"], SAGEMAKER).hyperparameters.finetune


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "argument --epochs: 0 is not between 1 and 10000"),
        (["--learning-rate", "nan"], "argument --learning-rate: nan is not between"),
        (["--views", "two"], "argument --views: 'two' is not a valid number"),
        (["--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["--finetune", "maybe"], "'maybe' is neither true nor false"),
    ],
)
def test_a_bad_hyperparameter_is_named_with_what_is_allowed(arguments: list[str], message: str) -> None:
    with pytest.raises(TrainingFailure, match=message):
        parse_config(arguments, SAGEMAKER)


@pytest.mark.parametrize(("images", "views"), [(0, 8), (95, 8), (1_290, 3), (4_001, 1), (6_680, 1)])
def test_few_images_get_many_views_and_many_get_one(images: int, views: int) -> None:
    assert views_of_each(Hyperparameters(), images) == views


def test_an_explicit_number_of_views_is_kept() -> None:
    assert views_of_each(Hyperparameters(views=4), 100_000) == 4


def test_a_missing_folder_error_says_how_to_set_it() -> None:
    with pytest.raises(TrainingFailure, match="the folder 'train' is not set: pass --train or set SM_CHANNEL_TRAIN"):
        parse_config([], {})
