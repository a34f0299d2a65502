"""Has the gate compare what an endpoint serves with a challenger's registered version."""

from __future__ import annotations

from tasks.gate.gate import GateRecord, judge_models
from tasks.promotion.promote import releases_of
from tasks.registry.groups import ChallengerOf, group_of
from tasks.registry.packages import ModelVersion
from tasks.run.handle import Run, RunFolder
from tasks.run.records import DatasetRef


def begin_challenger(service: Run, challenger: str) -> None:
    """Note in the challenger's run for which endpoint it is trained, so that it is registered beside its champion.

    Raises:
        SettingsRefused: the run of the champion has no staged dataset.
        DiskFailed: the record cannot be written.
    """
    group = group_of(service, service.need(DatasetRef))
    RunFolder(service.settings.run_dir(challenger)).keep(ChallengerOf(service.id, group))


def judge_challenger(service: Run, challenger: Run, *, asked: str, extend: bool) -> GateRecord:
    """Judge the challenger's version against the release that serves, by the endpoint's frozen photos.

    Raises:
        SettingsRefused: a run has no model, no dataset, or is not registered.
        DataRefused, StageFailed, WaitTimedOut, AwsFailed: as `judge_models`.
    """
    champion = releases_of(service).serving
    version = challenger.need(ModelVersion)
    return judge_models(service, challenger, champion.model_uri, version.model_uri, asked=asked, extend=extend)
