"""When Prefect runs a schedule around the changes of the clocks, as docs/usage.md tells it."""

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from prefect.server.schemas.schedules import CronSchedule

BERLIN = ZoneInfo("Europe/Berlin")
AUTUMN, SPRING = datetime(2026, 10, 25, tzinfo=BERLIN), datetime(2026, 3, 29, tzinfo=BERLIN)


def times(cron: str, start: datetime, count: int = 4) -> list[str]:
    schedule = CronSchedule(cron=cron, timezone="Europe/Berlin")
    found = asyncio.run(schedule.get_dates(count, start=start))
    return [each.astimezone(UTC).strftime("%d %H:%M") for each in found]


def test_a_time_that_comes_twice_runs_once() -> None:
    assert times("30 2 * * *", AUTUMN) == ["25 00:30", "26 01:30", "27 01:30", "28 01:30"]


@pytest.mark.parametrize("minutes", [31, 60, 89, 90, 91, 120])
def test_a_scheduler_that_looks_between_the_two_does_not_run_it_again(minutes: int) -> None:
    """It may name the first time again, whose run it made already: Prefect makes one for a schedule and a time."""
    looked_at = datetime(2026, 10, 25, minutes // 60, minutes % 60, tzinfo=UTC)
    assert [each for each in times("30 2 * * *", looked_at) if each != "25 00:30"][:2] == ["26 01:30", "27 01:30"]


def test_a_time_that_is_left_out_runs_once_an_hour_earlier() -> None:
    assert times("30 2 * * *", SPRING) == ["29 00:30", "30 00:30", "31 00:30", "01 00:30"]


def test_a_time_outside_of_the_change_moves_with_the_clocks() -> None:
    assert times("0 3 * * *", AUTUMN, 2) == ["25 02:00", "26 02:00"]
    assert times("0 3 * * *", SPRING, 2) == ["29 01:00", "30 01:00"]
