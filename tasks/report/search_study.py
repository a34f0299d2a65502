"""Keeps what takes seconds to find out about a search: the importance of its hyperparameters, and its picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tasks.report.importance import Importances, importances_of
from tasks.report.notes import made_or_note
from tasks.report.search_picture import draw_search
from tasks.run.handle import RunFolder
from tasks.run.record_store import Record
from tasks.run.records import TrainedModel
from tasks.run.trials import Search
from tasks.run.waiting import say


@dataclass(frozen=True, kw_only=True)
class SearchStudy(Record, file="search.json", called="study of the search", made_by="train_sagemaker"):
    """What was found out about the search of a job; `picture` is a path, or "" if it could not be drawn (`note`)."""

    job_name: str
    importances: Importances
    picture: str = ""
    note: str = ""

    def is_of(self, model: TrainedModel) -> bool:
        """Tell whether this is the study of a model's search."""
        return self.job_name == model.job_name


def study_search(run: RunFolder, model: TrainedModel, search: Search) -> SearchStudy:
    """Study the search of a model, or return the study that the run has of it already.

    The record is kept before the picture is drawn, which may fail.

    Raises:
        LedgerRefused: the run's record cannot be read.
        DiskFailed: the record cannot be written.
    """
    kept = run.find(SearchStudy)
    if kept is not None and kept.is_of(model) and _is_drawn(kept):
        return kept
    importances = made_or_note(lambda: importances_of(search), lambda why: Importances(trials=0, why_none=why))
    study = SearchStudy(job_name=model.job_name, importances=importances)
    run.keep(study)
    try:
        drawn = replace(study, picture=str(draw_search(search, importances, run.folder)))
    except Exception as error:  # noqa: BLE001 matplotlib raises anything, or is not there; the figures stand
        drawn = replace(study, note=f"there is no picture of the search: {type(error).__name__}: {error}")
        say(drawn.note)
    run.keep(drawn)
    return drawn


def _is_drawn(study: SearchStudy) -> bool:
    return bool(study.picture) and Path(study.picture).exists()
