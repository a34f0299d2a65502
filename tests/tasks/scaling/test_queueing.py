"""Queueing formulas against values worked by hand or published in tables."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.scaling.queueing import concurrency, erlang_b, erlang_c, mean_wait_seconds, round_up, servers_for


@pytest.mark.parametrize(
    ("servers", "offered", "blocked"),
    [(0, 2.0, 1.0), (1, 1.0, 0.5), (2, 1.0, 0.2), (10, 4.461, 0.01), (5, 1.3608, 0.01)],
)
def test_erlang_b_agrees_with_the_tables(servers: int, offered: float, blocked: float) -> None:
    assert erlang_b(servers, offered) == pytest.approx(blocked, rel=2e-3)


def test_erlang_c_of_one_server_is_its_utilisation() -> None:
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(2, 2.5) == 1.0


def test_one_server_at_half_load_waits_one_service_time() -> None:
    assert mean_wait_seconds(1, 5.0, 0.1) == pytest.approx(0.1)
    assert mean_wait_seconds(1, 10.0, 0.1) == math.inf


def test_concurrency_is_rate_times_duration() -> None:
    assert concurrency(60.0, 0.05) == pytest.approx(3.0)


@settings(max_examples=60, deadline=None)
@given(offered=st.floats(0.0, 300.0), most=st.floats(1e-6, 1.0))
def test_servers_for_is_the_smallest_number_that_is_enough(offered: float, most: float) -> None:
    servers = servers_for(offered, most)
    assert erlang_b(servers, offered) <= most
    assert servers == 0 or erlang_b(servers - 1, offered) > most


@pytest.mark.parametrize(("offered", "most"), [(1.0, 0.0), (-1.0, 0.1), (1.0, 1.5), (1e9, 0.1)])
def test_what_has_no_finite_answer_is_refused(offered: float, most: float) -> None:
    with pytest.raises(ValueError, match="outside the range"):
        servers_for(offered, most)


@pytest.mark.parametrize(("value", "rounded"), [(3.0000000001, 3), (3.001, 4), (0.0, 0), (1000000.0000001, 1000000)])
def test_rounding_up_forgives_the_last_bits(value: float, rounded: int) -> None:
    assert round_up(value) == rounded
