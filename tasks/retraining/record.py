"""The record of an endpoint's latest retraining."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.run.record_store import Record


@dataclass(frozen=True)
class Retraining(Record, file="retraining.json", called="retraining", made_by="retrain"):
    """What the latest retraining of a run's endpoint came to, and what it looked at.

    `outcome` is "nothing to do", "refused" by the gate, "promoted", "taken back" by an alarm, or "kept" for one that
    was good and was not to be promoted. `data_digest`, `code` and `training` are what the challenger was trained on
    and with; the next retraining compares its own with them. `reasons` are those for which it was trained. `at` is UTC
    in ISO 8601.
    """

    at: str
    outcome: str
    why: str
    challenger: str
    data_digest: str
    code: str
    training: str
    reasons: tuple[str, ...] = ()
