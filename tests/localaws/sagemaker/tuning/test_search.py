"""The proposing part of tuning alone, without jobs: on a surface whose optimum is known, and at the ends of ranges."""

import math
import statistics
from collections import deque

import pytest

from localaws.sagemaker.tuning.ranges import Choice, NumberRange, Range, resolved_scaling
from localaws.sagemaker.tuning.requests import Objective, Resource
from localaws.sagemaker.tuning.search import Proposal, Search, search_for
from localaws.sagemaker.tuning.stopping import is_hopeless, not_improving, reaches

LOSS, ACCURACY = Objective("loss", is_maximized=False), Objective("accuracy", is_maximized=True)
RATE = NumberRange("rate", 1e-4, 1.0, False, "Logarithmic")
WIDTH = NumberRange("width", 8, 512, True, "Logarithmic")
KEEP = NumberRange("keep", 0.0, 0.999, False, "ReverseLogarithmic")
SPACE = (RATE, WIDTH, KEEP)
TRIALS, SEEDS, PARALLEL = 40, 60, 4


def regret(strategy: str, seed: int, parallel: int) -> float:
    """Return how far the best of a search's trials is from the optimum, which is 0 at rate 0.01, width 64, keep 0.9."""
    search = search_for(strategy, SPACE, LOSS, seed=seed)
    running: deque[Proposal] = deque()
    best, started = math.inf, 0
    while started < TRIALS or running:
        while started < TRIALS and len(running) < parallel:
            running.append(next_of(search))
            started += 1
        done = running.popleft()
        loss = surface(done)
        search.tell(done.number, loss)
        best = min(best, loss)
    return best


def surface(proposal: Proposal) -> float:
    rate, width, keep = (float(proposal.values[each.name]) for each in SPACE)
    distances = (math.log10(rate) + 2) / 4, (math.log2(width) - 6) / 6, (math.log10(1 - keep) + 1) / 3
    return sum(each * each for each in distances)


def next_of(search: Search) -> Proposal:
    proposal = search.propose()
    assert proposal is not None
    return proposal


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_parallel_bayesian_search_beats_chance_and_is_nearly_as_good_as_a_sequential_one() -> None:
    chance, sequential, parallel = (
        statistics.median(regret(strategy, seed, width) for seed in range(SEEDS))
        for strategy, width in (("Random", PARALLEL), ("Bayesian", 1), ("Bayesian", PARALLEL))
    )

    assert parallel < chance
    assert parallel <= 1.5 * sequential


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_a_seed_repeats_a_search_and_another_one_does_not(strategy: str) -> None:
    def values(seed: int) -> list[object]:
        search = search_for(strategy, SPACE, LOSS, seed=seed)
        return [next_of(search).values for _ in range(5)]

    assert values(7) == values(7) != values(8)
    assert values(2**40) == values(2**40)


@pytest.mark.parametrize(
    ("searched", "middle"),
    [
        (NumberRange("x", 0.0, 10.0, False, "Linear"), 5.0),
        (NumberRange("x", 1e-4, 1.0, False, "Logarithmic"), 1e-2),
        (NumberRange("x", 0.0, 0.9999, False, "ReverseLogarithmic"), 0.99),
        (NumberRange("x", 1, 10_000, True, "Logarithmic"), 100),
        (NumberRange("x", -5, 5, True, "Linear"), 0),
    ],
)
def test_half_of_the_values_lie_below_the_middle_of_the_scale_and_all_in_the_range(
    searched: NumberRange, middle: float
) -> None:
    search = search_for("Random", [searched], LOSS, seed=1)

    drawn = [float(next_of(search).values["x"]) for _ in range(400)]

    assert all(searched.low <= each <= searched.high for each in drawn)
    assert 0.4 < sum(each < middle for each in drawn) / len(drawn) < 0.6
    assert not searched.is_integer or all(each == int(each) for each in drawn)


def test_auto_is_logarithmic_where_positive_numbers_span_two_orders_of_magnitude() -> None:
    ends = ((1e-3, 0.1), (1e-3, 0.05), (0.0, 100.0), (-1.0, 1000.0))
    assert [resolved_scaling("Auto", *each) for each in ends] == ["Logarithmic", "Linear", "Linear", "Linear"]
    assert resolved_scaling("ReverseLogarithmic", 0.0, 0.5) == "ReverseLogarithmic"


def test_a_grid_has_each_combination_once() -> None:
    search = search_for("Grid", [Choice("a", ("1", "2")), Choice("b", ("x", "y", "z"))], LOSS, seed=None)

    found = [next_of(search) for _ in range(6)]

    assert search.propose() is None
    assert [each.number for each in found] == list(range(6))
    assert {(each.values["a"], each.values["b"]) for each in found} == {(a, b) for a in "12" for b in "xyz"}


def test_what_parents_found_leads_the_search_and_what_is_out_of_the_range_does_not() -> None:
    ranges: tuple[Range, ...] = (NumberRange("x", 0.0, 1.0, False, "Linear"), Choice("kind", ("a", "b")))
    search = search_for("Bayesian", ranges, LOSS, seed=3)
    for step in range(40):
        x = step / 20  # half of them beyond the range
        search.learn({"x": str(x), "kind": "a" if step % 2 else "gone", "static": "1"}, (x - 0.8) ** 2)

    drawn = [float(next_of(search).values["x"]) for _ in range(20)]

    assert next_of(search).number == 20
    assert statistics.median(abs(each - 0.8) for each in drawn) < 0.15


def test_hyperband_cuts_the_bad_early_and_lets_the_good_have_all() -> None:
    search = search_for("Hyperband", [RATE], LOSS, seed=1, resource=Resource(1, 27))
    used: dict[int, int] = {}
    for _ in range(60):
        proposal = next_of(search)
        level = abs(math.log10(float(proposal.values["rate"])) + 2)
        curve: list[float] = []
        while not search.should_stop(proposal.number, curve):
            curve.append(level + 1 / (len(curve) + 1))
        used[proposal.number] = len(curve)
        search.tell(proposal.number, curve[-1])

    assert max(used.values()) == 27
    assert sum(used.values()) < 0.6 * 27 * len(used)


def test_a_job_is_hopeless_when_it_is_worse_than_the_median_of_the_running_averages() -> None:
    others = [[1.0, 0.5, 0.1], [1.0, 0.9], [2.0, 1.8, 1.6]]  # averages after two epochs: 0.75, 0.95, 1.9
    assert is_hopeless([1.0, 0.96], others, LOSS)
    assert not is_hopeless([1.0, 0.95], others, LOSS)
    assert is_hopeless([0.1, 0.94], others, ACCURACY)
    assert not is_hopeless([9.0], [], LOSS)
    assert not is_hopeless([], others, LOSS)


@pytest.mark.parametrize(
    ("values", "objective", "count"),
    [
        ([], LOSS, 0),
        ([1.0, 0.5, 0.499, 0.498], LOSS, 2),
        ([1.0, 0.5, 0.499, 0.49], LOSS, 0),
        ([0.5, 0.6, 0.6, 0.7, 0.1], ACCURACY, 1),
        ([0.0, 0.0, 0.0], LOSS, 2),
    ],
)
def test_values_that_improve_by_less_than_a_hundredth_do_not_count(
    values: list[float], objective: Objective, count: int
) -> None:
    assert not_improving(values, objective) == count


def test_a_target_is_reached_from_its_own_side() -> None:
    assert reaches(0.1, 0.1, LOSS) and reaches(0.05, 0.1, LOSS) and not reaches(0.2, 0.1, LOSS)
    assert reaches(0.9, 0.8, ACCURACY) and not reaches(0.7, 0.8, ACCURACY)
