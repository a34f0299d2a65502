"""What the operations on training, tuning and processing jobs have in common."""

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from localaws.core import Core
from localaws.sagemaker.jobs.runner import JobRunner, Kind


def is_within(parameters: Mapping[str, Any], field: str, moment: datetime) -> bool:
    """Return whether a moment is between the parameters `<field>After` and `<field>Before`, where they are given."""
    earliest, latest = parameters.get(f"{field}After"), parameters.get(f"{field}Before")
    return (not earliest or moment >= _aware(earliest)) and (not latest or moment <= _aware(latest))


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def all_backends(core: Core) -> list[Any]:
    """Return moto's backends of all regions."""
    from moto.sagemaker.models import sagemaker_backends

    return list(sagemaker_backends[core.settings.account_id].values())


def remove_leftovers(core: Core, kind: Kind) -> None:
    """Remove the working folders of jobs that a former server was killed in."""
    for attempt in (core.settings.home / kind.home).glob("*/attempt-*"):
        shutil.rmtree(attempt, ignore_errors=True)


def close_all(runners: Sequence[JobRunner[Any]]) -> None:
    """End jobs at once; those that take long do so together."""
    for runner in runners:
        runner.close(0.0)
    for runner in runners:
        runner.close()
