"""Keeps what a retraining came to, and marks a challenger that the gate refused."""

from __future__ import annotations

from tasks.gate.gate import GateRecord
from tasks.promotion.promote import now_text
from tasks.registry.packages import REJECTED, ModelVersion, settle
from tasks.retraining.need import Need
from tasks.retraining.record import Retraining
from tasks.run.errors import aws_boundary
from tasks.run.handle import Run
from tasks.run.waiting import say


def refuse(challenger: Run, decision: GateRecord) -> None:
    """Mark the challenger's version as rejected, with the gate's numbers.

    Raises:
        SettingsRefused: it is not registered.
        AwsFailed: SageMaker refused.
    """
    version = challenger.need(ModelVersion)
    with aws_boundary(f"model package {version.name}"):
        settle(challenger.aws, version.arn, REJECTED, decision.text)
    say(f"retrain: {version.label} is refused: {decision.text}")


def conclude(service: Run, need: Need, data_digest: str, outcome: str, why: str) -> Retraining:
    """Keep what the retraining came to.

    Raises:
        DiskFailed: the record cannot be written.
    """
    made = (need.challenger, data_digest, need.code, need.training, need.reasons)
    record = Retraining(now_text(), outcome, why, *made)
    service.keep(record)
    return record
