"""Finds the evaluation that a run keeps of its present model."""

from __future__ import annotations

from tasks.evaluation.record import SAGEMAKER, Evaluation
from tasks.run.errors import LedgerRefused
from tasks.run.handle import RunFolder
from tasks.run.records import TrainedModel


def evaluation_of(run: RunFolder, model: TrainedModel | None) -> tuple[Evaluation | None, str]:
    """Return the evaluation of a run's model on SageMaker, or None and why there is none.

    One of an earlier model, whose command was killed before it was replaced, is none.
    """
    try:
        found = run.find(Evaluation, trained_on=SAGEMAKER)
    except LedgerRefused as error:
        return None, f"its evaluation cannot be read: {error.why}"
    if found is None:
        return None, "its training kept no predictions"
    if model is None or (found.model_uri, found.data_digest) != (model.model_uri, model.data_digest):
        return None, "the evaluation that is kept is of another model"
    return found, ""
