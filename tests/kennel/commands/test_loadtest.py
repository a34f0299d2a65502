"""The arguments of `kennel loadtest`: a traffic statement, numbers of the plan, and values that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kennel.cli import call
from kennel.commands.loadtest import StatedTraffic, overrides_of, show_page, traffic_of
from tasks.load.options import SendingOptions
from tasks.run.errors import SettingsRefused
from tests.tasks.scaling.deployments import traffic

RATES = {"baseline_rps": 5.0, "peak_rps": 40.0, "spike_rps": 60.0}


def test_three_rates_are_a_statement_and_the_rest_has_defaults() -> None:
    found = traffic_of(None, StatedTraffic(**RATES, slo_p95_ms=250.0))
    assert found is not None
    assert (found.baseline_rps, found.slo_p95_ms, found.ramp_seconds) == (5.0, 250.0, 0.0)


def test_a_file_is_the_whole_statement(tmp_path: Path) -> None:
    path = tmp_path / "traffic.json"
    path.write_text(json.dumps(vars(traffic())))
    assert traffic_of(path, StatedTraffic()) == traffic()
    with pytest.raises(SettingsRefused, match="give one of the two"):
        traffic_of(path, StatedTraffic(**RATES))


def test_nothing_said_is_no_statement() -> None:
    assert traffic_of(None, StatedTraffic()) is None


@pytest.mark.parametrize(
    ("stated", "why"),
    [
        ({"baseline_rps": 5.0}, "--peak, --spike is missing"),
        ({**RATES, "peak_rps": 1.0}, "have to satisfy baseline ≤ peak ≤ spike"),
        ({**RATES, "slo_p95_ms": -1.0}, "traffic.slo_p95_ms"),
    ],
)
def test_a_statement_that_does_not_fit_is_refused(stated: dict[str, float], why: str) -> None:
    with pytest.raises(SettingsRefused, match=why):
        traffic_of(None, StatedTraffic(**stated))


def test_numbers_by_hand_are_read() -> None:
    assert overrides_of(("target_value=60", "reserved_concurrency=2")) == {
        "target_value": 60.0,
        "reserved_concurrency": 2.0,
    }


@pytest.mark.parametrize("text", ["target_value", "target_value=", "target_value=many"])
def test_a_number_by_hand_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsRefused, match="--set"):
        overrides_of((text,))


def test_a_page_has_one_target() -> None:
    with pytest.raises(SettingsRefused, match="a page has one target"):
        show_page("run", SendingOptions(through="both"), port=0)


def test_wrong_arguments_end_with_2_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KENNEL_HOME", str(tmp_path / "home"))
    assert call(["loadtest", "run", "--mode", "checked", "--baseline", "5"]) == 2
    assert call(["loadtest", "run", "--mode", "sideways"]) == 2
    assert not (tmp_path / "home").exists()
