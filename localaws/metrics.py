"""CloudWatch metrics from inside the server: a put is a dictionary update; one statistic set a second reaches moto."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

PENDING_LIMIT = 10_000  # statistic sets: nobody has asked for metrics for a long time

_Key = tuple[str, str, tuple[tuple[str, str], ...], str, int]


@dataclass
class _Statistics:
    count: int = 0
    total: float = 0.0
    minimum: float = float("inf")
    maximum: float = float("-inf")

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)


class Metrics:
    """Gives data points to CloudWatch. Thread-safe, a few microseconds a call."""

    def __init__(self, account_id: str, region: str) -> None:
        self._account_id = account_id
        self._region = region
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._pending: dict[_Key, _Statistics] = {}

    def put(
        self,
        namespace: str,
        name: str,
        value: float,
        dimensions: Mapping[str, str],
        *,
        unit: str = "None",
        timestamp: float | None = None,
    ) -> None:
        """Add one observation. `timestamp`: Unix time in seconds, default now; kept to the second."""
        second = int(time.time() if timestamp is None else timestamp)
        key = (namespace, name, tuple(dimensions.items()), unit, second)
        with self._lock:
            statistics = self._pending.get(key)
            if statistics is None:
                statistics = self._pending[key] = _Statistics()
            statistics.add(value)
            is_full = len(self._pending) == PENDING_LIMIT
        if is_full:
            threading.Thread(target=self.flush, name="cloudwatch metrics", daemon=True).start()

    def flush(self) -> None:
        """Give what is pending to moto, so that the next read sees it."""
        with self._flushing:  # who comes second reads what the first one took
            with self._lock:
                pending, self._pending = self._pending, {}
            for (namespace, name, dimensions, unit, second), statistics in pending.items():
                self._backend().put_metric_data(namespace, [_datum(name, dimensions, unit, second, statistics)])

    def _backend(self) -> Any:
        from moto.cloudwatch.models import cloudwatch_backends

        return cloudwatch_backends[self._account_id][self._region]


def _datum(
    name: str, dimensions: tuple[tuple[str, str], ...], unit: str, second: int, statistics: _Statistics
) -> dict[str, Any]:
    return {
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
        "Timestamp": datetime.fromtimestamp(second, UTC).replace(tzinfo=None),  # moto compares without a time zone
        "Unit": unit,
        "StatisticValues": {
            "Sum": statistics.total,
            "Minimum": statistics.minimum,
            "Maximum": statistics.maximum,
            "SampleCount": statistics.count,
        },
    }
