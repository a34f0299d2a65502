"""Replace the rows of Locust's tables by the figures of `loadtest.json` at the end of a run.

Locust's own statistics include failed requests in the percentiles, round values above 100 ms to two digits, and rank
values differently from HdrHistogram, so a run would have two different medians. The replaced rows show the merged
tally, so that Locust's HTML, CSV and console agree with `loadtest.json`: latencies are those of the answered requests,
and failed requests are counted separately. Locust shows whole milliseconds.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

from locust.stats import RequestStats, StatsEntry

from loadtest.percentiles import value_ms
from loadtest.summary import ANSWERED_ONLY
from loadtest.tally import Tally
from loadtest.timeline import locust_history
from loadtest.verdict import achieved_rate

METHOD = "Invoke"


class FinalEntry(StatsEntry):
    """A row that shows a tally and ignores what workers report later about the same requests."""

    def __init__(self, stats: RequestStats, name: str, method: str, tally: Tally, ended: float) -> None:
        """Copy counts and latencies from the tally; Locust computes its rates from `ended`, a Unix time."""
        super().__init__(stats, name, method, use_response_times_cache=True)
        self._latency = tally.latency
        self.num_requests, self.num_none_requests, self.num_failures = tally.sent, tally.failed, tally.failed
        total, most = 1000 * tally.latency_sum_seconds, 1000 * tally.max_latency_seconds
        self.total_response_time, self.max_response_time = cast("int", total), cast("int", most)  # Locust adds floats
        self.min_response_time = tally.latency.get_min_value() / 1000 if tally.answered else None
        self.response_times = _whole_milliseconds(tally.latency)
        self.start_time, self.last_request_timestamp = tally.measured_from, ended

    def log(self, response_time: int, content_length: int) -> None:
        """Do nothing, because the tally already counts every request."""

    def log_error(self, error: Exception | str | None) -> None:
        """Do nothing, because the tally already counts every failure."""

    def extend(self, other: StatsEntry) -> None:
        """Add only the received bytes of a worker's last report, because the tally does not count bytes."""
        self.total_content_length += other.total_content_length

    def get_response_time_percentile(self, percent: float) -> int:
        """Return a percentile (0 to 1) of the answered requests in whole milliseconds; 0 if none was answered."""
        return round(value_ms(self._latency, 100 * percent)) if self._latency.total_count else 0

    @property
    def median_response_time(self) -> int:
        """Return the median latency of the answered requests in whole milliseconds."""
        return self.get_response_time_percentile(0.5)


def show_result(stats: RequestStats, tally: Tally, *, title: str, seconds: float, processes: int) -> None:
    """Let Locust's tables and charts show the merged tally of a run with `seconds` of measured time."""
    rate = achieved_rate(tally, seconds)
    ended = tally.measured_from + (tally.sent / rate if rate else seconds)
    length = stats.total.total_content_length
    stats.total = FinalEntry(stats, "Aggregated", "", tally, ended)
    # Workers report under the target's name, so their last reports reach the FinalEntry, which ignores them.
    stats.entries.clear()
    stats.entries[(title, METHOD)] = FinalEntry(stats, f"{title} {ANSWERED_ONLY}", METHOD, tally, ended)
    for entry in (stats.total, stats.entries[(title, METHOD)]):
        entry.total_content_length = length
    stats.history[:] = locust_history(tally.seconds, tally.measured_from, processes)


def _whole_milliseconds(latency: Any) -> dict[int, int]:
    counts: dict[int, int] = defaultdict(int)
    for item in latency.get_recorded_iterator():
        counts[round(item.value_iterated_to / 1000)] += item.count_added_in_this_iter_step
    return counts
