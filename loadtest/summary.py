"""Build and write `loadtest.json`: the figures with their number of samples, the machine and the verdict."""

from __future__ import annotations

import dataclasses
import json
import os
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from loadtest.percentiles import summarise
from loadtest.plan import Plan
from loadtest.tally import Tally
from loadtest.timeline import by_stage, intervals, timeline
from loadtest.verdict import achieved_rate, judge
from tasks.run.machine import hardware

FEWEST_INTERVALS = 8
"""The minimum number of intervals in a chart of the run, however few requests there are."""
ANSWERED_ONLY = "(latencies: answered requests only)"
"""Follows the target's name in Locust's tables."""


def summary(plan: Plan, tally: Tally, *, missing: str = "") -> dict[str, Any]:
    """Return the content of `loadtest.json`; latencies are in milliseconds, other times in seconds.

    `missing` says which generators sent no result.
    """
    seconds = plan.measured_seconds
    verdict = judge(tally, seconds, plan.processes, missing=missing)
    return {
        "format": 1,
        "target": {**dataclasses.asdict(plan.target), "title": plan.target.title},
        "stages": [dataclasses.asdict(stage) for stage in plan.stages],
        "seconds": seconds,
        "measured_from": datetime.fromtimestamp(tally.measured_from, UTC).isoformat(timespec="milliseconds"),
        "warm_up": {"seconds": plan.warm_up_seconds, "requests": tally.warm_up},
        "rate_per_second": {
            "asked": sum(s.rate_per_second * s.seconds for s in plan.stages) / seconds,
            "intended": tally.due / seconds,
            "achieved": achieved_rate(tally, seconds),
        },
        "requests": {
            "due": tally.due,
            "unsent": tally.due - tally.sent,
            "sent": tally.sent,
            "answered": tally.answered,
            "failed": tally.failed,
        },
        "failures": {"by_code": dict(tally.failures.most_common()), "by_kind": dict(tally.kinds.most_common())},
        "latency_ms": _distribution(tally.latency, tally),
        "service_ms": {"percentiles": _percentiles(tally.service)},
        "lag_ms": {"percentiles": _percentiles(tally.lag)},
        "generator": _generator(plan, tally),
        "verdict": {"void": list(verdict.void), "failed": list(verdict.failed)},
        "images": len(plan.images),
        "seed": plan.seed,
        "hardware": hardware(),
        "histograms": {name: tally.to_message()[name] for name in ("latency", "service", "lag")},
        "by_stage": by_stage(tally.seconds, plan.stages),
        "intervals": intervals(tally.seconds, longest_seconds=max(1, round(seconds / FEWEST_INTERVALS))),
        "timeline": timeline(tally.seconds),
    }


def write_summary(path: Path, content: dict[str, Any]) -> None:
    """Replace the file atomically; only its owner may read it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=1)
    temporary.replace(path)


def _generator(plan: Plan, tally: Tally) -> dict[str, Any]:
    return {
        "processes": plan.processes,
        "busiest_cpu": tally.busiest_cpu,
        "cpu_seconds": tally.cpu_seconds,
        "requests_per_core_second": tally.sent / tally.cpu_seconds if tally.cpu_seconds else None,
        "late_start_seconds": tally.late_start_seconds,
        "waited_for_a_connection": tally.pool_exhausted,
        "locust": version("locust"),
    }


def _distribution(histogram: Any, tally: Tally) -> dict[str, Any]:
    samples = tally.answered
    return {
        "of": "answered requests, from the intended start",
        "samples": samples,
        "mean": 1000 * tally.latency_sum_seconds / samples if samples else None,
        "max": 1000 * tally.max_latency_seconds if samples else None,
        "percentiles": _percentiles(histogram),
    }


def _percentiles(histogram: Any) -> list[dict[str, Any]]:
    return [dataclasses.asdict(percentile) for percentile in summarise(histogram)]
