"""Finds the options again with which a run's data was staged, so that it can be staged in the same way."""

from __future__ import annotations

from pydantic import ValidationError

from tasks.run.errors import LedgerRefused
from tasks.run.options import DataOptions
from tasks.run.records import DatasetRef


def chosen_data_options(dataset: DatasetRef) -> DataOptions:
    """Return the options that a dataset was staged with.

    Raises:
        LedgerRefused: another release wrote them.
    """
    try:
        return DataOptions.model_validate_json(dataset.options)
    except ValidationError as error:
        what = "the staged dataset has options of another release"
        raise LedgerRefused("records", what, str(error), "stage the data again in a new run") from error
