"""Tests of AWS's clock: it may run faster than this machine's clock, and at scale 1 both are the same."""

from datetime import UTC, datetime

import pytest

from tasks.run.clock import AwsClock
from tasks.run.errors import SettingsRefused
from tasks.run.settings import Settings

ORIGIN = 1_700_000_000.0


def clock(scale: float, wall: float) -> AwsClock:
    return AwsClock(scale, ORIGIN, lambda: wall)


def test_at_scale_1_it_is_the_walls_whatever_the_origin() -> None:
    assert AwsClock(1.0, 0.0, lambda: ORIGIN + 5).now() == datetime.fromtimestamp(ORIGIN + 5, UTC)


def test_a_second_of_the_wall_is_a_minute_at_scale_60_and_back() -> None:
    fast = clock(60.0, ORIGIN + 2)
    assert fast.now() == datetime.fromtimestamp(ORIGIN + 120, UTC)
    assert fast.to_wall(fast.now()) == pytest.approx(ORIGIN + 2)
    assert (fast.wall_seconds(900), fast.aws_seconds(15)) == (15, 900)


def test_the_next_minute_is_a_full_one_of_awss() -> None:
    fast = clock(60.0, ORIGIN + 0.25)
    begins = fast.next_minute()
    assert ORIGIN + 0.25 < begins <= ORIGIN + 1.25
    assert fast.at_wall(begins).timestamp() % 60 == pytest.approx(0, abs=1e-3)


def test_it_is_read_from_the_settings() -> None:
    made = AwsClock.from_settings(Settings(time_scale=30, clock_origin=ORIGIN))
    assert (made.scale, made.origin) == (30, ORIGIN)


def test_a_scale_without_an_origin_is_refused() -> None:
    with pytest.raises(SettingsRefused, match="clock_origin is not set"):
        AwsClock.from_settings(Settings(time_scale=30))
