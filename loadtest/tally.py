"""Count the requests of one generator, and merge the counts of several generators exactly.

Every request that was due is unsent, answered or failed. Histograms are merged bucket by bucket, so the percentiles of
the merged histogram are those of all samples. A request belongs to the second of its intended start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram

from loadtest.outcomes import Outcome
from loadtest.percentiles import new_histogram, record_seconds
from loadtest.timeline import Second


@dataclass
class Tally:
    """The counts and latencies of the measured time; the warm-up is only counted.

    `latency` is the time from the intended start to the end of a successful response, `service` from the send to that
    end, `lag` from the intended start to the send. Arguments are in seconds from the start of the measured time.
    """

    latency: Any = field(default_factory=new_histogram)
    service: Any = field(default_factory=new_histogram)
    lag: Any = field(default_factory=new_histogram)
    due: int = 0
    sent: int = 0
    answered: int = 0
    failed: int = 0
    warm_up: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: dict[int, Second] = field(default_factory=dict)
    measured_from: float = 0.0
    """The start of the measured time, as a Unix timestamp."""
    last_send_seconds: float = 0.0
    max_latency_seconds: float = 0.0
    latency_sum_seconds: float = 0.0
    trailing_connection_failures: int = 0
    pool_exhausted: int = 0
    busiest_cpu: float = 0.0
    cpu_seconds: float = 0.0
    late_start_seconds: float = 0.0
    """How long after the agreed moment the generator began."""

    def count_due(self, intended: float) -> None:
        """Count a request that is due at `intended`."""
        self.due += 1
        self._second(intended).due += 1

    def count_sent(self, intended: float, sent: float) -> None:
        """Count a request that was due at `intended` and is sent at `sent`."""
        self.sent += 1
        self.last_send_seconds = max(self.last_send_seconds, sent)
        self._second(intended).record_lateness(sent - intended)
        record_seconds(self.lag, sent - intended)

    def count_result(self, intended: float, sent: float, done: float, outcome: Outcome) -> None:
        """Count the outcome of a request that was sent."""
        if not outcome.is_ok:
            self._count_failure(intended, outcome)
            return
        self.answered += 1
        self._second(intended).count_answer(done - intended)
        self.trailing_connection_failures = 0
        record_seconds(self.latency, done - intended)
        record_seconds(self.service, done - sent)
        self.max_latency_seconds = max(self.max_latency_seconds, done - intended)
        self.latency_sum_seconds += done - intended

    def _count_failure(self, intended: float, outcome: Outcome) -> None:
        self.failed += 1
        second = self._second(intended)
        second.failed += 1
        second.throttled += outcome.kind == "throttled"
        self.failures[outcome.code] += 1
        self.kinds[outcome.kind] += 1
        is_connection = outcome.kind == "connection"
        self.trailing_connection_failures = self.trailing_connection_failures + 1 if is_connection else 0

    def _second(self, moment: float) -> Second:
        second = self.seconds.get(int(moment))
        if second is None:  # not setdefault, which makes one each time
            second = self.seconds[int(moment)] = Second()
        return second

    def to_message(self) -> dict[str, Any]:
        """Return the tally as JSON values; histograms are in HdrHistogram's V2 encoding."""
        plain = {name: value for name, value in vars(self).items() if name not in _NOT_PLAIN}
        histograms = {name: _encoded(getattr(self, name)) for name in _HISTOGRAMS}
        seconds = [[moment, *second.to_row()] for moment, second in sorted(self.seconds.items())]
        return {**plain, **histograms, "seconds": seconds, "failures": dict(self.failures), "kinds": dict(self.kinds)}

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Tally:
        """Restore a tally from the result of `to_message`."""
        histograms = {name: HdrHistogram.decode(message[name]) for name in _HISTOGRAMS}
        seconds = {int(row[0]): Second.from_row(row[1:]) for row in message["seconds"]}
        counters = {name: Counter(message[name]) for name in ("failures", "kinds")}
        return cls(**{**message, **histograms, **counters, "seconds": seconds})


_HISTOGRAMS = ("latency", "service", "lag")
_NOT_PLAIN = {*_HISTOGRAMS, "seconds", "failures", "kinds"}
_SUMMED = ("due", "sent", "answered", "failed", "warm_up", "latency_sum_seconds", "pool_exhausted", "cpu_seconds")
_LARGEST = (
    *("last_send_seconds", "max_latency_seconds", "busiest_cpu", "trailing_connection_failures"),
    "late_start_seconds",
)


def merged(tallies: Iterable[Tally]) -> Tally:
    """Merge the tallies of several generators: add the counts and histograms, keep the maxima."""
    whole = Tally()
    for tally in tallies:
        for name in _HISTOGRAMS:
            getattr(whole, name).add(getattr(tally, name))
        for name in _SUMMED:
            setattr(whole, name, getattr(whole, name) + getattr(tally, name))
        for name in _LARGEST:
            setattr(whole, name, max(getattr(whole, name), getattr(tally, name)))
        whole.failures.update(tally.failures)
        whole.kinds.update(tally.kinds)
        for moment, second in tally.seconds.items():
            whole.seconds.setdefault(moment, Second()).add(second)
        # The generators agree on one moment; what they say of it differs by the error of their clocks.
        whole.measured_from = min(filter(None, [whole.measured_from, tally.measured_from]), default=0.0)
    return whole


def _encoded(histogram: Any) -> str:
    return bytes(histogram.encode()).decode("ascii")
