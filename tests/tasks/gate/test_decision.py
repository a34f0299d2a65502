"""The gate promotes what is shown to be better, and little else."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from tasks.evaluation.predictions import Predictions
from tasks.gate.decision import Decision, Rules, judge, verdict_of
from tasks.gate.interval import difference_bound
from tasks.gate.power import photos_needed, power

CLASSES = [f"class {number}" for number in range(10)]


def predictions(right: "NDArray[np.bool_]", score: float = 0.9) -> Predictions:
    """Return what a model says of photos of ten classes, one after the other, that it has right or not."""
    labels = np.arange(len(right)) % len(CLASSES)
    predicted = np.where(right, labels, (labels + 1) % len(CLASSES))
    scores = np.full((len(right), len(CLASSES)), (1 - score) / (len(CLASSES) - 1), np.float32)
    scores[np.arange(len(right)), predicted] = score
    return Predictions(np.arange(len(right)), labels, predicted, scores)


def promoted(photos: int, gain: float, disagreement: float) -> int:
    """Return how many of a hundred challengers are shown to be better; all are so by `gain`."""
    shares = [(disagreement - gain) / 2, (disagreement + gain) / 2, 1 - disagreement]
    draws = np.random.default_rng(0).multinomial(photos, shares, 100)
    return [verdict_of(photos, int(first), int(second), Rules()) for first, second, _ in draws].count("better")


def split(photos: int, only_first: int, only_second: int) -> Decision:
    state = np.zeros(photos, int)
    state[:only_first], state[only_first : only_first + only_second] = 1, 2
    return judge(predictions(state != 2), predictions(state != 1), CLASSES)


def test_of_a_hundred_equal_challengers_at_most_five_are_promoted() -> None:
    assert promoted(252, 0.0, 0.04) <= 5
    assert promoted(2000, 0.0, 0.04) <= 5


def test_of_a_hundred_that_are_better_by_two_points_ninety_are_promoted_on_two_thousand_photos() -> None:
    assert promoted(2000, 0.02, 0.04) >= 90


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ((252, 1, 8), "better"),
        ((252, 8, 1), "worse"),
        ((252, 4, 4), "not enough photos"),
        ((2000, 6, 6), "not worse"),
        ((2000, 0, 0), "not worse"),
        ((20, 0, 0), "not enough photos"),
        ((1, 0, 1), "not enough photos"),
    ],
)
def test_the_verdict_follows_from_the_photos_that_one_model_alone_has_right(
    counts: tuple[int, int, int], verdict: str
) -> None:
    assert split(*counts).verdict == verdict


def test_not_worse_promotes_only_where_that_is_asked() -> None:
    decision = split(2000, 6, 6)
    assert decision.may_be_promoted(not_worse_suffices=True)
    assert not decision.may_be_promoted(not_worse_suffices=False)


def test_a_class_that_loses_too_much_refuses_a_model_that_is_better_in_all() -> None:
    """30 photos of each class: one class loses 9 of them, all others win 2."""
    state = np.zeros(300, int)
    for number in range(10):
        rows = np.arange(number, 300, 10)
        state[rows[: 9 if number == 3 else 2]] = 1 if number == 3 else 2
    decision = judge(predictions(state != 2), predictions(state != 1), CLASSES, Rules(log_loss_rise=9.0))
    assert decision.paired.accuracy.value > 0
    (broken,) = [rule for rule in decision.rules if not rule.is_kept]
    assert (broken.rule, round(broken.observed, 2)) == ("accuracy lost by class class 3", 0.3)
    assert not decision.may_be_promoted(not_worse_suffices=True)


def test_a_model_that_is_right_more_often_but_too_sure_is_refused() -> None:
    right = np.arange(300) % 4 != 0
    champion, challenger = predictions(right, 0.75), predictions(right | (np.arange(300) < 40), 0.999)
    decision = judge(champion, challenger, CLASSES)
    assert decision.verdict == "better"
    assert {rule.rule for rule in decision.rules if not rule.is_kept} >= {"rise of the log loss"}


def test_the_power_of_the_photos_of_the_sample_and_of_the_dogs() -> None:
    """Two points, with 4 % of the photos right by one model alone."""
    assert power(252, 0.02, 0.04, 0.05) == pytest.approx(0.351, abs=0.002)
    assert power(835, 0.02, 0.04, 0.05) == pytest.approx(0.881, abs=0.002)
    needed = photos_needed(0.02, 0.04, 0.05)
    assert needed is not None
    assert power(needed, 0.02, 0.04, 0.05) >= 0.8 > power(needed - 1, 0.02, 0.04, 0.05)
    assert photos_needed(0.0001, 0.5, 0.05) is None
    many = photos_needed(0.0025, 0.7, 0.05)
    assert many is not None and 524_288 < many < 1_000_000


def test_the_power_is_what_simulated_tests_show() -> None:
    random = np.random.default_rng(0)
    draws = random.multinomial(400, [0.01, 0.03, 0.96], 2000)
    shown = [binomtest(int(b), int(a + b), alternative="greater").pvalue <= 0.05 for a, b, _ in draws if a + b]
    assert sum(shown) / 2000 == pytest.approx(power(400, 0.02, 0.04, 0.05), abs=0.03)


def test_a_gain_above_the_disagreement_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a disagreement"):
        power(100, 0.1, 0.05, 0.05)


def test_the_interval_covers_the_true_difference_also_with_few_disagreements() -> None:
    """Tango's interval of 90 %, both sides at 5 %, over 1,000 draws of 120 photos."""
    random = np.random.default_rng(1)
    for first, second in ((0.01, 0.01), (0.02, 0.06), (0.0, 0.03)):
        draws = random.multinomial(120, [first, second, 1 - first - second], 1000)
        low = [difference_bound(120, a, b, 0.05, upper=False) for a, b, _ in draws]
        high = [difference_bound(120, a, b, 0.05, upper=True) for a, b, _ in draws]
        true = second - first
        assert np.mean([bound > true for bound in low]) <= 0.07
        assert np.mean([bound < true for bound in high]) <= 0.07


def test_without_any_disagreement_the_interval_has_a_width() -> None:
    low, high = (difference_bound(50, 0, 0, 0.05, upper=upper) for upper in (False, True))
    assert low == -high and 0.02 < high < 0.1


@pytest.mark.parametrize("wrong", [(0.5, 0.02, 0.01), (0.0, 0.02, 0.01), (0.05, 0.0, 0.01), (0.05, 0.02, 2.0)])
def test_rules_that_no_test_can_keep_are_refused(wrong: tuple[float, float, float]) -> None:
    level, gain, margin = wrong
    with pytest.raises(ValueError, match="are not what rules can be"):
        Rules(level=level, gain=gain, margin=margin)
