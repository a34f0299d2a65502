"""Decides whether a challenger may take the champion's place, from what both said of the same photos.

It is "better" when the exact McNemar test shows it, "not worse" when the interval of the difference lies above the
margin that was allowed, "worse" when the test shows that, and otherwise there are "not enough photos". Further rules
(classes, calibration, log loss) can only refuse. Nothing here trains, deploys or calls AWS.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.evaluation.counts import calibration_error, class_results, reliability
from tasks.evaluation.paired import Paired, compare_paired
from tasks.evaluation.predictions import Predictions
from tasks.gate.interval import difference_bound
from tasks.gate.power import photos_needed, power

Verdict = Literal["better", "not worse", "worse", "not enough photos"]
WANTED_POWER = 0.8


@dataclass(frozen=True)
class Rules:
    """What a challenger has to keep.

    `level` is the chance of promoting one that is not better (or is worse by `margin`). `gain` is the difference that
    matters, for which the power is told. A class with at least `class_photos` photos may lose `class_loss` of its
    accuracy. The expected calibration error may rise by `calibration_rise`, the mean log loss by `log_loss_rise`. A
    photo may take `slower` times the champion's time, and the archive be `larger` times its size.
    """

    level: float = 0.05
    gain: float = 0.02
    margin: float = 0.01
    class_photos: int = 20
    class_loss: float = 0.2
    calibration_rise: float = 0.05
    log_loss_rise: float = 0.1
    slower: float = 1.5
    larger: float = 2.0

    def __post_init__(self) -> None:
        """Refuse values that no test can keep.

        Raises:
            ValueError: a level that is not between 0 and 0.5, or a gain or margin that is not between 0 and 1.
        """
        if not (0 < self.level < 0.5 and 0 < self.gain <= 1 and 0 < self.margin <= 1):
            raise ValueError(
                f"level {self.level:g}, gain {self.gain:g}, margin {self.margin:g} are not what rules can be"
            )


@dataclass(frozen=True)
class RuleResult:
    """One of the further rules: what was observed, what is allowed at most, and whether it is kept."""

    rule: str
    observed: float
    allowed: float

    @property
    def is_kept(self) -> bool:
        """Whether the observed value is allowed."""
        return self.observed <= self.allowed

    @property
    def text(self) -> str:
        """The rule in words, with both values."""
        return f"{self.rule} {self.observed:.3g}, allowed {self.allowed:g}"


@dataclass(frozen=True)
class Decision:
    """What the gate found: the verdict, the paired test, one-sided bounds of the difference, the power, the rules.

    `low` and `high` bound the challenger's accuracy minus the champion's, each at `Rules.level`. `power` is the chance
    that so many photos show `Rules.gain`; `photos_needed` is how many show it with 80 %, None above a million.
    """

    verdict: Verdict
    paired: Paired
    low: float
    high: float
    power: float
    photos_needed: int | None
    rules: tuple[RuleResult, ...]

    def may_be_promoted(self, *, not_worse_suffices: bool) -> bool:
        """Whether the challenger may take the champion's place; a rule that is broken refuses it."""
        shown = self.verdict == "better" or (not_worse_suffices and self.verdict == "not worse")
        return shown and all(rule.is_kept for rule in self.rules)


def judge(
    champion: Predictions,
    challenger: Predictions,
    classes: Sequence[str],
    rules: Rules | None = None,
    costs: Sequence[RuleResult] = (),
) -> Decision:
    """Judge a challenger by the photos that both models were tested on; `costs` are rules on its time and size.

    Raises:
        ValueError: the photos are not the same, or there is none.
    """
    rules = rules or Rules()
    paired = compare_paired(champion, challenger)
    counts = paired.photos, paired.only_first, paired.only_second
    low, high = (difference_bound(*counts, rules.level, upper=upper) for upper in (False, True))
    disagreement = max(rules.gain, (paired.only_first + paired.only_second) / paired.photos)
    return Decision(
        verdict=verdict_of(*counts, rules),
        paired=paired,
        low=low,
        high=high,
        power=power(paired.photos, rules.gain, disagreement, rules.level),
        photos_needed=photos_needed(rules.gain, disagreement, rules.level, WANTED_POWER),
        rules=(*_kept(champion, challenger, classes, paired, rules), *costs),
    )


def verdict_of(photos: int, only_first: int, only_second: int, rules: Rules) -> Verdict:
    """Return the verdict on a second model, of the photos that it or the first alone has right.

    Raises:
        ValueError: there is no photo, or the counts are more than the photos.
    """
    if _p_value(only_second, only_first) <= rules.level:
        return "better"
    if _p_value(only_first, only_second) <= rules.level:
        return "worse"
    low = difference_bound(photos, only_first, only_second, rules.level, upper=False)
    return "not worse" if low > -rules.margin else "not enough photos"


def _p_value(more: int, less: int) -> float:
    """Return the one-sided p-value of the exact McNemar test that `more` is larger by more than chance."""
    from scipy.stats import binomtest

    return float(binomtest(more, more + less, alternative="greater").pvalue) if more + less else 1.0


def _kept(
    champion: Predictions, challenger: Predictions, classes: Sequence[str], paired: Paired, rules: Rules
) -> Iterator[RuleResult]:
    both = zip(class_results(champion, classes), class_results(challenger, classes), strict=True)
    for before, after in both:
        if before.images >= rules.class_photos:
            lost = (before.right - after.right) / before.images
            yield RuleResult(f"accuracy lost by class {before.name}", lost, rules.class_loss)
    rise = calibration_error(reliability(challenger)) - calibration_error(reliability(champion))
    yield RuleResult("rise of the calibration error", rise, rules.calibration_rise)
    yield RuleResult("rise of the log loss", paired.log_loss.value, rules.log_loss_rise)
