"""Puts all runs of a folder side by side, a row each: how good, how sure, how long, how dear, how fast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from tasks.report.summary import RunSummary, accuracy_interval, summarise
from tasks.run.handle import RunFolder
from tasks.run.records import TrainingResult
from tasks.verdicts.verdicts import failed, inconclusive

Order = Literal["date", "accuracy", "low", "seconds", "cost", "p95"]
_LARGEST_FIRST = {"date", "accuracy", "low"}


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """The figures of one run; what it has no record of is None.

    `date` is when a record of it changed last, in UTC. `low` and `high` are the ends of the accuracy's interval of
    95 %, `seconds` and `cost_usd` those of its training, `p95_ms` that of its load test, and `verdicts` counts those
    on the scaling plan. `notes` says what cannot be read.
    """

    run_id: str
    date: str
    data: str | None
    backbone: str | None
    accuracy: float | None
    low: float | None
    high: float | None
    images: int | None
    seconds: float | None
    cost_usd: float | None
    p95_ms: float | None
    verdicts: dict[str, int] | None
    notes: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """The run as cells of a table below `HEAD`."""
        sure = "" if self.low is None or self.high is None else f" ({self.low:.2f} to {self.high:.2f})"
        return (
            self.run_id,
            self.date[:10],
            "" if self.accuracy is None else f"{self.accuracy:.3f}{sure}",
            _number(self.seconds, ".0f"),
            _number(self.cost_usd, ".4f"),
            _number(self.p95_ms, ".0f"),
            "" if self.verdicts is None else f"{self.verdicts['passed']}/{sum(self.verdicts.values())}",
        )


HEAD = ("run", "date", "accuracy (95 %)", "train s", "USD", "p95 ms", "passed")


def list_runs(folders: Sequence[Path], order: Order) -> list[ListedRun]:
    """Return the runs in folders, sorted: best, newest, shortest, cheapest or fastest first, and those without last."""
    listed = [listed_run(run, summarise(run)) for run in map(RunFolder, folders)]
    return sorted(listed, key=lambda run: _rank(run, order))


def _rank(run: ListedRun, order: Order) -> tuple[float, str]:
    value = {
        "date": datetime.fromisoformat(run.date).timestamp(),
        "accuracy": run.accuracy,
        "low": run.low,
        "seconds": run.seconds,
        "cost": run.cost_usd,
        "p95": run.p95_ms,
    }[order]
    if value is None or not math.isfinite(value):
        return math.inf, run.run_id
    return -value if order in _LARGEST_FIRST else value, run.run_id


def listed_run(run: RunFolder, summary: RunSummary) -> ListedRun:
    """Return the figures of one run from its summary."""
    model: TrainingResult | None = summary.model or summary.ec2
    low, high = _interval(model)
    return ListedRun(
        run_id=run.id,
        date=_changed(run.folder).isoformat(),
        data=None if summary.dataset is None else summary.dataset.name,
        backbone=None if model is None else model.backbone,
        accuracy=None if model is None else model.test_accuracy,
        low=low,
        high=high,
        images=None if model is None else model.test_images,
        seconds=_seconds(summary),
        cost_usd=None if model is None else model.cost_usd,
        p95_ms=_p95(summary),
        verdicts=_verdicts(summary),
        notes=tuple(note for note in summary.notes if " cannot be read: " in note),
    )


def _interval(model: TrainingResult | None) -> tuple[float | None, float | None]:
    if model is not None:
        with suppress(ValueError):
            return accuracy_interval(model.test_accuracy, model.test_images)
    return None, None


def _seconds(summary: RunSummary) -> float | None:
    if summary.model is not None:
        return summary.model.seconds
    return None if summary.ec2 is None else summary.ec2.wall_seconds


def _p95(summary: RunSummary) -> float | None:
    if summary.scaling is not None and (through := summary.scaling.reports.get(summary.scaling.through)):
        return through.p95_ms
    return None if summary.loadtest is None else summary.loadtest.p95_ms


def _verdicts(summary: RunSummary) -> dict[str, int] | None:
    if summary.scaling is None:
        return None
    given = summary.scaling.verdicts
    lost, open_ = len(failed(given)), len(inconclusive(given))
    return {"passed": len(given) - lost - open_, "failed": lost, "inconclusive": open_}


def _changed(folder: Path) -> datetime:
    """Return when a record of a run changed last, or its folder where it has none."""
    times = [path.lstat().st_mtime for path in folder.glob("*.json")] or [folder.lstat().st_mtime]
    return datetime.fromtimestamp(max(times), UTC).replace(microsecond=0)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
