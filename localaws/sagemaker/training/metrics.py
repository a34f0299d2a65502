"""Finds a job's metrics in its log lines by the regexes of the request, and writes them to CloudWatch."""

import contextlib
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from localaws.metrics import Metrics
from localaws.permissions.roles import Role
from localaws.timed_regex import TimedRegex, TooSlow

NAMESPACE = "/aws/sagemaker/TrainingJobs"
LONGEST_CURVE = 20_000
"""Values of a metric that are kept: the most units of a resource that Hyperband knows."""


@dataclass(frozen=True)
class MetricValue:
    """One observation; `timestamp`: Unix time in seconds."""

    name: str
    value: float
    timestamp: float


class MetricScanner:
    """Finds the metrics in the lines of all hosts and keeps the last value and the curve of each. Thread-safe."""

    def __init__(self, definitions: Sequence[tuple[str, str]], job: str, metrics: Metrics, role: Role) -> None:
        self._patterns = [(name, TimedRegex(regex)) for name, regex in definitions]
        self._dimensions = {"TrainingJobName": job}
        self._metrics = metrics
        self._role = role
        self._lock = threading.Lock()
        self._last: dict[str, MetricValue] = {}
        self._curves: dict[str, list[float]] = {}

    def scan(self, line: str) -> None:
        """Record every match of every definition in `line`: the first group, passed over when it is no number.

        A definition that takes too long for a line finds nothing more in it.
        """
        for name, pattern in self._patterns:
            with contextlib.suppress(TooSlow):
                for text in pattern.first_groups(line):
                    value = _number(text)
                    if value is not None:
                        self._record(MetricValue(name, value, time.time()))

    def final(self) -> list[MetricValue]:
        """Return the last value of each metric that was printed, in the order of the definitions."""
        with self._lock:
            return [
                self._last[name] for name in dict.fromkeys(name for name, _ in self._patterns) if name in self._last
            ]

    def curve(self, name: str) -> list[float]:
        """Return the values of a metric in the order in which they were printed, the first `LONGEST_CURVE` of them."""
        with self._lock:
            return list(self._curves.get(name, ()))

    def _record(self, observed: MetricValue) -> None:
        with self._lock:
            self._last[observed.name] = observed
            curve = self._curves.setdefault(observed.name, [])
            if len(curve) < LONGEST_CURVE:
                curve.append(observed.value)
        namespace = {"cloudwatch:namespace": [NAMESPACE]}
        if math.isfinite(observed.value) and self._role.may("cloudwatch:PutMetricData", "*", namespace):
            self._metrics.put(NAMESPACE, observed.name, observed.value, self._dimensions)  # in CloudWatch's own time


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
