"""The run of a source: a new id, or that of a run which an earlier release made for it."""

import hashlib
import json
from pathlib import Path

import pytest

from tasks.run.naming import training_choices, training_run_id
from tasks.run.options import TrainingOptions
from tasks.run.run_id import run_of, run_of_training

TRAINING = TrainingOptions(epochs=2)


def earlier(slug: str, identity: str, **choices: object) -> str:
    """Return the id that releases derived which recognised a source by this text."""
    chosen = {name: value for name, value in sorted(choices.items()) if value is not None}
    text = json.dumps([identity, chosen], sort_keys=True, default=str)
    return f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@pytest.mark.parametrize("was", ["x.zip", "./x.zip"])
@pytest.mark.parametrize("typed", ["x.zip", "./x.zip", "{}/x.zip"])
def test_a_run_of_an_earlier_release_is_adopted_by_every_path_of_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was: str, typed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source, old = typed.format(tmp_path), earlier("x", was, **training_choices(TRAINING))
    assert run_of_training(tmp_path / "runs", source, TRAINING) == training_run_id(source, TRAINING) != old
    (tmp_path / "runs" / old).mkdir(parents=True)
    assert run_of_training(tmp_path / "runs", source, TRAINING) == old
    assert run_of_training(tmp_path / "runs", source, TrainingOptions(epochs=3)) != old


@pytest.mark.parametrize("parameter", ["policy=a", "policy=b", "expires=never"])
def test_a_run_that_may_be_of_another_url_is_not_adopted(tmp_path: Path, parameter: str) -> None:
    old = earlier("x", "https://host/x.zip")  # an earlier release left these parameters out, and recorded none
    (tmp_path / old).mkdir()
    assert run_of(tmp_path, f"https://host/x.zip?{parameter}") != old
    assert run_of(tmp_path, "https://host/x.zip") == old
