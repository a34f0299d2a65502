"""Tests the bounds of the traffic statement and of measured figures, and the error for a misspelt field."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tasks.run.errors import SettingsRefused
from tasks.scaling.traffic import Figure, Traffic
from tests.tasks.scaling.deployments import figure, measured, traffic

FIELDS = {
    "baseline_rps": 5,
    "peak_rps": 40,
    "spike_rps": 60,
    "ramp_seconds": 600,
    "slo_p95_ms": 500,
    "max_error_rate": 0.01,
    "max_throttle_rate": 0.01,
    "monthly_budget_usd": 300,
}


def test_a_statement_is_read_from_json_and_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "traffic.json"
    path.write_text(json.dumps(FIELDS))
    statement = Traffic.from_file(path)
    assert statement == Traffic.from_mapping(FIELDS)
    assert (statement.peak_rps, statement.peak_share) == (40.0, 0.1)


def test_the_months_mean_rate_weighs_baseline_and_peak() -> None:
    assert traffic(peak_share=0.25).mean_rps == pytest.approx(0.75 * 5 + 0.25 * 40)


@pytest.mark.parametrize(("ramp_seconds", "slope"), [(1750.0, 0.02), (0.0, math.inf)])
def test_a_ramp_has_a_slope_and_a_step_an_infinite_one(ramp_seconds: float, slope: float) -> None:
    assert traffic(ramp_seconds=ramp_seconds).ramp_rps_per_second == pytest.approx(slope)


def test_a_load_that_does_not_rise_has_no_slope() -> None:
    assert traffic(peak_rps=5.0, ramp_seconds=0.0).ramp_rps_per_second == 0.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"peak_rps": 4}, "baseline ≤ peak ≤ spike"),
        ({"spike_rps": 39}, "baseline ≤ peak ≤ spike"),
        ({"baseline_rps": 0}, "traffic.baseline_rps"),
        ({"slo_p95_ms": math.nan}, "traffic.slo_p95_ms"),
        ({"max_throttle_rate": 0}, "traffic.max_throttle_rate"),
        ({"peak_share": 1.5}, "traffic.peak_share"),
        ({"peak_rps": "40"}, "traffic.peak_rps"),
        ({"peak_rps": True}, "traffic.peak_rps"),
        ({"peek_rps": 40}, "unknown: peek_rps"),
    ],
)
def test_what_is_out_of_bounds_or_misspelt_is_refused_by_name(change: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsRefused, match=named):
        Traffic.from_mapping({**FIELDS, **change})


def test_a_missing_field_is_named() -> None:
    with pytest.raises(SettingsRefused, match="missing: slo_p95_ms"):
        Traffic.from_mapping({name: value for name, value in FIELDS.items() if name != "slo_p95_ms"})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "not JSON"),
        ("[1]", "has to be a JSON object"),
        ('{"peak_rps": 40, "peak_rps": 50}', "'peak_rps' is given twice"),
    ],
)
def test_text_that_is_no_json_object_is_refused(text: str, named: str) -> None:
    with pytest.raises(SettingsRefused, match=named):
        Traffic.from_json(text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match="name a text file that exists"):
        Traffic.from_file(tmp_path / "none.json")


@pytest.mark.parametrize(("value", "n", "source"), [(0.0, 1, "a"), (math.inf, 1, "a"), (1.0, 0, "a"), (1.0, 1, "")])
def test_a_figure_without_value_samples_or_source_is_refused(value: float, n: int, source: str) -> None:
    with pytest.raises(SettingsRefused):
        Figure(value, n, source)


def test_measurements_whose_percentiles_contradict_are_refused() -> None:
    with pytest.raises(SettingsRefused, match="function p50 200 ms > p95 100 ms"):
        measured(function_p50_ms=figure(200))
