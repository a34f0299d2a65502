"""Tests that Locust's page and CSV, loadtest.json, the record, the report and the console show the same figures."""

import contextlib
import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtest.summary import ANSWERED_ONLY
from tasks.load.generator import GeneratorOptions, run_load_test
from tasks.load.report import load_text, report_markdown
from tasks.run.errors import StageFailed
from tasks.run.record_store import load_record
from tasks.run.records import EndpointRef, LoadReport
from tasks.run.settings import Settings
from tests.loadtest.conftest import InvokeServer

NAME = "fails-late"
ARN = f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{NAME}"
PERCENTILES = {0.5: "p50_ms", 0.9: "p90_ms", 0.95: "p95_ms", 0.99: "p99_ms"}


def load(server: InvokeServer, image: Path, run_dir: Path, processes: int) -> LoadReport:
    """Send some 1,200 requests, of which a third is refused after 0.5 s and the others are answered after 10 ms."""
    with contextlib.suppress(StageFailed):  # void when other tests make the generator late, and kept all the same
        run_load_test(
            Settings.load(endpoint_url=server.url, region="us-east-1"),
            run_dir,
            target=EndpointRef(NAME, ARN, "config", "model", "AllTraffic", "ml.m5.large", 1, "s3://b/k", 1.0),
            images=[image],
            rate_per_second=400,
            seconds=3.0,
            options=GeneratorOptions(warm_up_seconds=0.5, drain_seconds=5, processes=processes, seed=4),
            say=lambda _: None,
        )
    report = load_record(run_dir, LoadReport)
    assert report is not None
    return report


@pytest.mark.parametrize("processes", [1, 2])
def test_all_of_them_agree_on_a_run_in_which_a_third_fails(
    server: InvokeServer, image: Path, tmp_path: Path, processes: int
) -> None:
    report = load(server, image, tmp_path / "run", processes)
    assert report.failures == pytest.approx(report.requests / 3, rel=0.1) and report.p99_ms is not None
    content = json.loads(Path(report.files["json"]).read_bytes())
    assert content["latency_ms"]["of"].startswith("answered") and content["latency_ms"]["samples"] == report.answered
    assert report.p90_ms is not None and report.p90_ms < 500, "the refused third, after 0.5 s, is no latency"
    the_csv_agrees(report)
    the_page_agrees(report)
    the_texts_agree(report)


def the_csv_agrees(report: LoadReport) -> None:
    with Path(report.files["csv"]).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["Name"] for row in rows] == [f"{NAME} {ANSWERED_ONLY}", "Aggregated"]
    for row in rows:
        assert (int(row["Request Count"]), int(row["Failure Count"])) == (report.requests, report.failures)
        told = {0.5: row["50%"], 0.9: row["90%"], 0.95: row["95%"], 0.99: row["99%"]}
        assert {share: int(text) for share, text in told.items()} == rounded(report)
        assert int(row["Median Response Time"]) == rounded(report)[0.5]
        assert float(row["Max Response Time"]) == pytest.approx(report.max_ms)
        assert float(row["Requests/s"]) == pytest.approx(report.achieved_rps)


def the_page_agrees(report: LoadReport) -> None:
    shown = page_content(Path(report.files["html"]))
    for row in shown["requests_statistics"]:
        assert (row["num_requests"], row["num_failures"]) == (report.requests, report.failures)
        assert row["median_response_time"] == rounded(report)[0.5]
        assert row["total_rps"] == pytest.approx(report.achieved_rps)
    for row in shown["response_time_statistics"]:
        assert {share: row[str(share)] for share in PERCENTILES} == rounded(report)
    assert sum(failure["occurrences"] for failure in shown["failures_statistics"]) == report.failures
    assert ANSWERED_ONLY in shown["response_time_statistics"][0]["name"]


def the_texts_agree(report: LoadReport) -> None:
    line, table = load_text(report), report_markdown(report)
    counts = f"{report.answered:,} answered, {report.failures:,} failed"
    percentiles = ", ".join(
        f"{name.removesuffix('_ms')} {getattr(report, name):.1f} ms" for name in PERCENTILES.values()
    )
    assert counts in line and f"of the answered: {percentiles}" in line
    assert (
        counts in table and f"| latency p50 of the answered | {report.p50_ms:.1f} ms (n = {report.answered}) |" in table
    )
    assert not re.search(r"\bvalid\b", line + table)
    assert "| machine | " in table and "| machine of the master | " in report_markdown(replace(report, workers=2))
    assert ("the generator kept up" in line) is report.is_valid


def rounded(report: LoadReport) -> dict[float, int]:
    """Return the record's percentiles as Locust shows them, in whole milliseconds."""
    return {share: round(getattr(report, name)) for share, name in PERCENTILES.items()}


def page_content(page: Path) -> dict[str, Any]:
    """Return the JSON in Locust's page from which the page is rendered."""
    text = page.read_text()
    start = re.search(r"window\.templateArgs\s*=\s*", text)
    assert start is not None
    content: dict[str, Any] = json.JSONDecoder().raw_decode(text, start.end())[0]
    return content
