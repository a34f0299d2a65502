"""How late CloudWatch gives data points: minute by minute, each a while after it has ended."""

import math

from localaws.metrics import MetricName
from localaws.strictness import Span, Strictness

MINUTE = 60


def given_until(metric: MetricName, now: float, strictness: Strictness) -> float:
    """Return the emulated time before which a metric's observations are given at `now`; infinity: all are.

    A minute is given `least` to `most` - 60 seconds after its end, so that an observation is between `least` and `most`
    late. Later minutes are never given before earlier ones if `most` is at most `least` + 120.
    """
    delay = strictness.metrics
    if not delay:
        return math.inf
    end = int(now - delay.least) // MINUTE * MINUTE
    jitter = max(0.0, delay.most - delay.least - MINUTE)
    while end + delay.least + jitter * _share(metric, end, strictness) > now:
        end -= MINUTE
    return end


def _share(metric: MetricName, end: int, strictness: Strictness) -> float:
    what = (metric.namespace, metric.name, sorted(metric.dimensions), end)
    return Span(0.0, 1.0).drawn(strictness.seed, "metric", *what)
