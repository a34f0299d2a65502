"""What scripts rely on stays: the run id of a command, by which it finds its run again, and an error's exit code."""

import inspect
import re
from pathlib import Path

import pytest

from kennel.cli import HELP, app
from kennel.commands.train_ec2 import sagemaker_training
from tasks.run import errors
from tasks.run.options import Ec2TrainingOptions, TrainingOptions
from tasks.run.run_id import run_of_training
from tests.kennel.interface import EXIT_CODES, RUN_IDS, differences


def run_id_of(command: str, runs: Path) -> str:
    """Return what the command's own function would name its run, from the records that its flags make."""
    function, bound, *_ = app.parse_args(command.split())
    defaults = {name: each.default for name, each in inspect.signature(function).parameters.items()}
    given = {**defaults, **bound.arguments}
    parts = given["model"], given["machines"]
    is_on_ec2 = command.startswith("train-ec2")
    training = sagemaker_training(Ec2TrainingOptions.of(*parts)) if is_on_ec2 else TrainingOptions.of(*parts)
    return run_of_training(runs, given["data"] or "sample", training)


@pytest.mark.parametrize("command", RUN_IDS)
def test_a_command_finds_the_run_that_it_had(command: str, tmp_path: Path) -> None:
    (tmp_path / RUN_IDS[command]).mkdir()
    assert run_id_of(command, tmp_path) == RUN_IDS[command]


def test_every_error_has_the_exit_code_that_it_had() -> None:
    kinds = (kind for kind in vars(errors).values() if inspect.isclass(kind))
    found = {kind.__name__: kind.exit_code for kind in kinds if issubclass(kind, errors.KennelError)}
    assert found == EXIT_CODES


def test_the_help_names_every_exit_code() -> None:
    assert set(EXIT_CODES.values()) <= {int(code) for code in re.findall(r"^ {1,3}(\d+)  ", HELP, re.MULTILINE)}


def test_a_json_member_that_is_missing_new_or_of_another_kind_is_named() -> None:
    answer = {"run_id": 7, "scaling": None, "extra": 1}
    expected = ["loadtest.extra is new", "loadtest.loadtest is missing", "loadtest.run_id is 7, it was string"]
    assert sorted(differences("loadtest", answer)) == expected
