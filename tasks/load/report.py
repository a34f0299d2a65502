"""Turns a load test's raw figures into a `LoadReport`, a line or a table, and raises when the run is invalid.

The functions are pure: they read and write no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.run.errors import Inconclusive, StageFailed
from tasks.run.escaping import code_span, markdown_table, markdown_text
from tasks.run.record_store import Amount, Count, Record
from tasks.run.records import LoadReport

STAGE = "loadtest"
FILES = {
    "html": "report.html",
    "json": "loadtest.json",
    "csv": "locust_stats.csv",
    "csv_failures": "locust_failures.csv",
    "csv_history": "locust_stats_history.csv",
    "log": "locust.log",
}
"""The files of a load test in `runs/<id>/loadtest/`: Locust's report, CSVs and log, and kennel's figures."""

RETRY = "run the same command again on a quieter machine, or with another rate"


@dataclass(frozen=True)
class LoadTestIdentity(
    Record, file="loadtest-of.json", called="tested deployment", made_by="pipeline", stored_as="LoadTested"
):
    """The deployment and the options of a load test. A test with another value in any field is a different test."""

    config_name: str
    function_version: str
    code_sha256: str
    rate_per_second: Amount
    seconds: Amount
    endpoint_created: str = ""
    mode: str = "steady"
    traffic: Mapping[str, float] = field(default_factory=dict)
    pace: float = 1.0
    through: str = "function"
    processes: Count = 1
    seed: int = 0
    safety_factor: Amount | None = None
    ladder_first_rps: Amount | None = None
    overrides: Mapping[str, float] = field(default_factory=dict)


def load_report_from(content: Mapping[str, Any], folder: Path, *, time_scale: float, wall_seconds: float) -> LoadReport:
    """Return the record of a load test from the content of the generator's `loadtest.json` in `folder`."""
    rates, requests, latency = content["rate_per_second"], content["requests"], content["latency_ms"]
    values = {p["percentile"]: p["value_ms"] for p in latency["percentiles"]}
    lag = {p["percentile"]: p["value_ms"] for p in content["lag_ms"]["percentiles"]}
    verdict, generator = content["verdict"], content["generator"]
    return LoadReport(
        target=content["target"]["title"],
        kind=content["target"]["kind"],
        asked_rps=rates["asked"],
        intended_rps=rates["intended"],
        achieved_rps=rates["achieved"],
        seconds=content["seconds"],
        requests=requests["sent"],
        answered=requests["answered"],
        failures=requests["failed"],
        unsent=requests["unsent"],
        warm_up_requests=content["warm_up"]["requests"],
        p50_ms=values[50.0],
        p90_ms=values[90.0],
        p95_ms=values[95.0],
        p99_ms=values[99.0],
        max_ms=latency["max"],
        errors=content["failures"]["by_code"],
        error_kinds=content["failures"]["by_kind"],
        is_valid=not verdict["void"],
        why_invalid="; ".join(verdict["void"]) or None,
        why_failed="; ".join(verdict["failed"]) or None,
        concurrency=None if latency["mean"] is None else rates["achieved"] * latency["mean"] / 1000,
        lag_p99_ms=lag[99.0],
        generator_cpu=generator["busiest_cpu"],
        processes=generator["processes"],
        workers=len(generator.get("machines", [])),
        generator_machines=generator.get("on", ""),
        requests_per_core=generator["requests_per_core_second"],
        files={name: str(folder / file) for name, file in FILES.items()},
        hardware=content["hardware"],
        time_scale=time_scale,
        wall_seconds=wall_seconds,
    )


def raise_if_invalid(report: LoadReport) -> None:
    """Raise when a run is no evidence about the target.

    Raises:
        StageFailed: the target failed, or no request was sent or succeeded.
        Inconclusive: the generator was the bottleneck, or a part of it is missing.
    """
    if report.why_failed:
        raise StageFailed(STAGE, f"{report.target}: {report.why_failed}", _counts(report), _see(report))
    if report.why_invalid:
        why = f"the generator, not the target, was at fault: {report.why_invalid}"
        raise Inconclusive(STAGE, f"the run against {report.target} is void", why, RETRY)


def report_markdown(report: LoadReport) -> str:
    """Return the report as a Markdown table, with the number of samples behind every percentile."""
    rows = [
        ("target", f"{report.kind} {report.target}"),
        ("rate", f"{report.intended_rps:.1f}/s intended, {report.achieved_rps:.1f}/s achieved"),
        ("requests", f"{_counts(report)}; warm-up of {report.warm_up_requests} excluded"),
        *((name, _latency(value, report.answered)) for name, value in _percentiles(report)),
        ("requests in flight (Little's law)", "—" if report.concurrency is None else f"{report.concurrency:.2f}"),
        *((f"failed with {code}", str(count)) for code, count in report.errors.items()),
        ("generator", _processes(report)),
        ("machine of the master" if report.workers else "machine", _machine(report)),
    ]
    cells = [(markdown_text(name), markdown_text(value)) for name, value in rows]
    cells.insert(1, ("run", _state(report)))
    cells += [(f"file ({markdown_text(name)})", code_span(path, in_table=True)) for name, path in report.files.items()]
    return "\n".join(["## Load test", "", *markdown_table(("", ""), cells), ""])


def load_text(load: LoadReport) -> str:
    """Return a load test in one line: requests, rates, latencies of the answered ones, and the generator's state."""
    named = {"p50": load.p50_ms, "p90": load.p90_ms, "p95": load.p95_ms, "p99": load.p99_ms}
    shown = ", ".join(f"{name} {value:.1f} ms" for name, value in named.items() if value is not None)
    latency = f"of the answered: {shown}" if shown else "too few answers for percentiles"
    rates = f"{load.achieved_rps:.1f}/s of {load.intended_rps:.1f}/s"
    counts = f"{load.requests:,} sent at {rates}, {load.answered:,} answered, {load.failures:,} failed"
    return f"{load.kind} {load.target}: {counts}; {latency}; {_generator(load)}"


def load_json(load: LoadReport | None) -> dict[str, object] | None:
    """Return the JSON content that `--json` prints for a load test; percentiles are in ms, of answered requests."""
    if load is None:
        return None
    return {
        "requests": load.requests,
        "answered": load.answered,
        "failures": load.failures,
        "achieved_rps": load.achieved_rps,
        "p50_ms": load.p50_ms,
        "p90_ms": load.p90_ms,
        "p95_ms": load.p95_ms,
        "p99_ms": load.p99_ms,
        "is_valid": load.is_valid,
    }


def _generator(report: LoadReport) -> str:
    """Return whether the generator kept up. This says nothing about the target: a valid run may have failures."""
    return "the generator kept up" if report.is_valid else f"void, the generator did not keep up: {report.why_invalid}"


def _processes(report: LoadReport) -> str:
    where = f" on {report.generator_machines}" if report.generator_machines else ""
    rate = "" if report.requests_per_core is None else f", {report.requests_per_core:,.0f} requests a core and second"
    return f"{report.processes} process(es){where}, busiest {report.generator_cpu:.0%} of a core{rate}"


def _machine(report: LoadReport) -> str:
    sends = "; it sends no request" if report.workers else ""
    return f"{report.hardware}; time scale {report.time_scale:g}{sends}"


def _state(report: LoadReport) -> str:
    if report.why_failed is not None:
        return f"**failed**: {markdown_text(report.why_failed)}"
    if report.is_valid:
        return _generator(report)
    return f"**void**, the generator did not keep up: {markdown_text(str(report.why_invalid))}"


def _percentiles(report: LoadReport) -> list[tuple[str, float | None]]:
    names = ("p50", "p90", "p95", "p99", "max")
    return [(f"latency {name} of the answered", getattr(report, f"{name}_ms")) for name in names]


def _latency(value_ms: float | None, samples: int) -> str:
    if value_ms is None:
        return f"too few samples (n = {samples})"
    return f"{value_ms:.1f} ms (n = {samples})"


def _counts(report: LoadReport) -> str:
    return f"{report.requests:,} sent, {report.answered:,} answered, {report.failures:,} failed"


def _see(report: LoadReport) -> str:
    return f"kennel status; see {report.files['html']}"
