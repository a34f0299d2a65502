"""Finds and removes the alarms of a promotion, which a killed command leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasks.promotion.guards import KIND, alarm_tags, describe_alarms
from tasks.run.aws import Aws
from tasks.run.naming import RESOURCE_PREFIX
from tasks.teardown.kinds import Kind, only_tagged
from tasks.teardown.plan import Resource


def _find(aws: Aws, name: str) -> Resource | None:
    found = list(describe_alarms(aws, AlarmNames=[name]))
    return Resource(KIND, name, alarm_tags(aws, name)) if found else None


def _find_tagged(aws: Aws) -> Iterator[Resource]:
    names = [str(each["AlarmName"]) for each in describe_alarms(aws, AlarmNamePrefix=RESOURCE_PREFIX)]
    return only_tagged(Resource(KIND, name, alarm_tags(aws, name)) for name in names)


def _remove(aws: Aws, name: str) -> None:
    aws.client("cloudwatch").delete_alarms(AlarmNames=[name])


ALARM_KINDS: Mapping[str, Kind] = {KIND: Kind(_find, _find_tagged, _remove)}
"""DeleteAlarms takes what does not exist without an error."""
