"""Keeps the options that a run's model was trained with, so that it can be trained again in the same way."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from tasks.run.errors import LedgerRefused
from tasks.run.handle import RunFolder
from tasks.run.options import TrainingOptions
from tasks.run.record_store import Record


@dataclass(frozen=True)
class TrainingChoice(Record, file="training.json", called="training options", made_by="train_sagemaker"):
    """The options that differ from the defaults, as JSON."""

    options: str

    @staticmethod
    def of(training: TrainingOptions) -> TrainingChoice:
        """Return the record of a training's options."""
        return TrainingChoice(training.model_dump_json(exclude_defaults=True))


def chosen_training(run: RunFolder) -> TrainingOptions:
    """Return the options that the run's model was trained with.

    Raises:
        SettingsRefused: the run has trained no model, or an older release trained it.
        LedgerRefused: the record cannot be read.
    """
    kept = run.need(TrainingChoice)
    try:
        return TrainingOptions.model_validate_json(kept.options)
    except ValidationError as error:
        where = str(run.path(TrainingChoice))
        raise LedgerRefused("records", f"{where} has options of another release", str(error), "name them") from error
