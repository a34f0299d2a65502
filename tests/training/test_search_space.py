"""Search spaces: what is read, and what is refused with what is allowed."""

import json
from typing import Any

import pytest

from training.failures import TrainingFailure
from training.search_space import FINETUNE_SPACE, HEAD_SPACE, Choices, Range, Space, holds, parse_space, space_json


@pytest.mark.parametrize("space", [HEAD_SPACE, FINETUNE_SPACE])
def test_a_space_survives_json(space: Space) -> None:
    assert parse_space(json.dumps(space_json(space))) == space


def test_whole_numbers_stay_whole_and_the_scale_is_linear_by_default() -> None:
    space = parse_space('{"head_width": {"low": 16, "high": 512}, "batch_size": {"choices": [128, 256.0]}}')

    assert space == {"head_width": Range(16, 512, "linear"), "batch_size": Choices((128, 256))}
    assert holds(space, {"head_width": 16, "batch_size": 256})
    assert not holds(space, {"head_width": 15, "batch_size": 256})
    assert not holds(space, {"head_width": 16, "batch_size": 32})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{", "the search space is no JSON"),
        ("[]", "the search space is no JSON object of the form"),
        ("{}", "the search space is no JSON object of the form"),
        ({"momentum": {"low": 0, "high": 1}}, "momentum cannot be searched; those that can are batch_size, dropout"),
        ({"epochs": {"low": 1, "high": 9}}, "epochs cannot be searched"),
        ({"dropout": {"low": 0, "high": 0.99}}, "dropout has 0.99, which is not between 0 and 0.95"),
        ({"dropout": {"low": 0.5, "high": 0.5}}, "dropout needs low < high"),
        ({"dropout": {"low": 0, "high": 0.5, "scale": "log"}}, "for log a low above 0"),
        ({"dropout": {"low": 0.1, "high": 0.5, "scale": "sqrt"}}, "a scale that is linear or log"),
        ({"dropout": {"low": 0.1}}, "dropout is neither"),
        ({"dropout": 0.1}, "dropout is neither"),
        ({"dropout": {"low": "0", "high": 0.5}}, "dropout has '0', which is not between"),
        ({"batch_size": {"choices": []}}, "batch_size needs choices that differ"),
        ({"batch_size": {"choices": [128, 128]}}, "batch_size needs choices that differ"),
        ({"batch_size": {"choices": [128.5]}}, "batch_size has 128.5, and takes whole numbers"),
        ({"batch_size": {"choices": [True]}}, "batch_size has True, which is not between"),
        ('{"learning_rate": {"low": 1e-4, "high": NaN}}', "learning_rate has nan"),
        ('{"dropout": {"low": 0, "high": 0.1}, "dropout": {"low": 0, "high": 0.5}}', "dropout is given twice"),
        ('{"dropout": {"low": 0, "low": 0.1, "high": 0.5}}', "low is given twice"),
    ],
)
def test_what_is_no_space_is_refused_by_name(given: Any, message: str) -> None:
    with pytest.raises(TrainingFailure) as refused:
        parse_space(given if isinstance(given, str) else json.dumps(given))
    assert message in str(refused.value)
