"""Choose the run of a command: the one that an earlier release made for the same source and options, or else a new id.

Earlier releases named a run after the path as it was typed, so that `x.zip` and `./x.zip` were two. A run that they
made is adopted, because its model and its endpoint may still be in use. A run of a URL is not adopted, because its
records do not tell which parameters the URL had.
"""

from __future__ import annotations

from pathlib import Path

from tasks.run import naming
from tasks.run.options import DataOptions, TrainingOptions


def run_of(runs: Path, source: str, **choices: object) -> str:
    """Return the id of the run of a source and choices; `runs` is the folder of all runs."""
    earlier = naming.earlier_run_ids(source, **choices)
    found = (run_id for run_id in earlier if (runs / run_id).exists())
    return next(found, None) or naming.run_id_for(source, **choices)


def run_of_training(runs: Path, source: str, training: TrainingOptions, data_options: DataOptions | None = None) -> str:
    """Return the id of the run of a command that trains."""
    return run_of(runs, source, **naming.training_choices(training, data_options))
