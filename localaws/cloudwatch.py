"""CloudWatch over moto's state: statistics of the metric that was asked for, and of no other.

moto adds up every metric whose dimensions include those asked for, so that the calls of a function through an alias
would count twice: for the function and for the function with its alias. In CloudWatch a metric is its name and exactly
its dimensions.
"""

from datetime import datetime, timedelta
from typing import Any

import moto.cloudwatch.models as moto_models
from moto.cloudwatch.exceptions import InvalidParameterValue
from starlette.routing import BaseRoute

from localaws.core import Core


class ExactCloudWatch(moto_models.CloudWatchBackend):
    """moto's CloudWatch, whose statistics tell metrics apart by all of their dimensions."""

    __module__ = moto_models.__name__

    def get_metric_statistics(
        self,
        namespace: str,
        metric_name: str,
        start_time: datetime,
        end_time: datetime,
        period: int,
        stats: list[str],
        dimensions: list[dict[str, str]],
        unit: str | None = None,
    ) -> list[Any]:
        """Return one metric's statistics by the period, from its first data point on.

        Raises:
            InvalidParameterValue: the time is empty.
        """
        start, end = start_time.replace(microsecond=0), end_time.replace(microsecond=0)
        if start >= end:
            raise InvalidParameterValue("The parameter StartTime must be less than the parameter EndTime.")
        wanted = {(each["Name"], each.get("Value")) for each in dimensions}
        found = [
            datum
            for datum in self.get_all_metrics()
            if (datum.namespace, datum.name) == (namespace, metric_name)
            and unit in (None, datum.unit)
            and {(each.name, each.value) for each in datum.dimensions} == wanted
            and start <= datum.timestamp < end
        ]
        return _by_period(found, timedelta(seconds=period), stats)


def _by_period(found: list[Any], period: timedelta, stats: list[str]) -> list[Any]:
    periods: dict[datetime, Any] = {}
    for datum in sorted(found, key=lambda each: each.timestamp):
        first = next(iter(periods), datum.timestamp)
        begin = first + (datum.timestamp - first) // period * period
        periods.setdefault(begin, moto_models.Statistics(stats, begin, datum.unit)).metric_data.append(datum)
    return list(periods.values())


def install(core: Core) -> list[BaseRoute]:  # noqa: ARG001 every service has the same signature
    """Put the backend in the place of moto's."""
    moto_models.cloudwatch_backends.backend = ExactCloudWatch
    return []
