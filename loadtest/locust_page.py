"""Locust's tables, set to the figures of `loadtest.json` when a run is over.

Locust's own statistics take failed requests into the percentiles, round values above 100 ms to two digits, and rank
them in another way than HdrHistogram: one run would have two medians. Its rows are replaced by rows that answer from
the merged tally, so that HTML, CSV and console agree with the record: latencies are those of the answered requests,
failed ones are counted beside them. Locust shows whole milliseconds.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

from locust.stats import RequestStats, StatsEntry

from loadtest.percentiles import value_ms
from loadtest.summary import OF_THE_ANSWERED
from loadtest.tally import Tally
from loadtest.timeline import locust_history
from loadtest.verdict import achieved_rate

METHOD = "Invoke"


class FinalEntry(StatsEntry):
    """A row that shows a tally and does not change any more, whatever workers still report of the same requests."""

    def __init__(self, stats: RequestStats, name: str, method: str, tally: Tally, ended: float) -> None:
        """Take counts and latencies from the tally; `ended` is a Unix time, from which Locust computes its rates."""
        super().__init__(stats, name, method, use_response_times_cache=True)
        self._latency = tally.latency
        self.num_requests, self.num_none_requests, self.num_failures = tally.sent, tally.failed, tally.failed
        total, most = 1000 * tally.latency_sum_seconds, 1000 * tally.max_latency_seconds
        self.total_response_time, self.max_response_time = cast("int", total), cast("int", most)  # Locust adds floats
        self.min_response_time = tally.latency.get_min_value() / 1000 if tally.answered else None
        self.response_times = _whole_milliseconds(tally.latency)
        self.start_time, self.last_request_timestamp = tally.measured_from, ended

    def log(self, response_time: int, content_length: int) -> None:
        """Count nothing: the tally has every request."""

    def log_error(self, error: Exception | str | None) -> None:
        """Count nothing: the tally has every failure."""

    def extend(self, other: StatsEntry) -> None:
        """Take the bytes of a worker's last report, which the tally does not count, and nothing else."""
        self.total_content_length += other.total_content_length

    def get_response_time_percentile(self, percent: float) -> int:
        """Return a percentile (0 to 1) of the answered in whole milliseconds, 0 when nothing was answered."""
        return round(value_ms(self._latency, 100 * percent)) if self._latency.total_count else 0

    @property
    def median_response_time(self) -> int:
        """Return the median of the answered in whole milliseconds."""
        return self.get_response_time_percentile(0.5)


def show_result(stats: RequestStats, tally: Tally, *, title: str, seconds: float, processes: int) -> None:
    """Have Locust's tables and charts show a whole run of `seconds` of measured time."""
    rate = achieved_rate(tally, seconds)
    ended = tally.measured_from + (tally.sent / rate if rate else seconds)
    length = stats.total.total_content_length
    stats.total = FinalEntry(stats, "Aggregated", "", tally, ended)
    # Workers report under the target's name: their last reports meet the row that is final.
    stats.entries.clear()
    stats.entries[(title, METHOD)] = FinalEntry(stats, f"{title} {OF_THE_ANSWERED}", METHOD, tally, ended)
    for entry in (stats.total, stats.entries[(title, METHOD)]):
        entry.total_content_length = length
    stats.history[:] = locust_history(tally.seconds, tally.measured_from, processes)


def _whole_milliseconds(latency: Any) -> dict[int, int]:
    counts: dict[int, int] = defaultdict(int)
    for item in latency.get_recorded_iterator():
        counts[round(item.value_iterated_to / 1000)] += item.count_added_in_this_iter_step
    return counts
