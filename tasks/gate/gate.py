"""Judges a challenger against the champion by the frozen photos, and keeps the decision with its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.gate.answers import Answered, answer_both
from tasks.gate.decision import Decision, RuleResult, Rules, judge
from tasks.gate.evaluation_set import EvaluationSet, Part, freeze, held_out, read_rows, refuse_trained
from tasks.run.handle import Run
from tasks.run.record_store import Amount, Count, Record, Share
from tasks.run.records import DatasetRef
from tasks.run.waiting import say

RULES = Rules()


@dataclass(frozen=True)
class GateRecord(Record, file="gate.json", called="decision of the gate", made_by="retrain"):
    """What the gate found of a challenger: by the photos of the set with this digest, against this champion.

    `low` and `high` bound the challenger's accuracy minus the champion's. `broken` are the rules that were not kept.
    `may_be_promoted` is the decision. The names of models are their archives in S3.
    """

    champion: str
    challenger: str
    evaluation_set: str
    photos: Count
    verdict: str
    only_champion: Count
    only_challenger: Count
    champion_accuracy: Share
    challenger_accuracy: Share
    low: float
    high: float
    p_value: Share
    log_loss: float
    power: Share
    photos_needed: Count | None
    rules: tuple[str, ...]
    broken: tuple[str, ...]
    asked: str
    may_be_promoted: bool
    champion_ms: Amount
    challenger_ms: Amount

    @property
    def text(self) -> str:
        """The decision in a sentence, with its numbers."""
        gain = self.challenger_accuracy - self.champion_accuracy
        found = (
            f"{self.verdict}: {self.challenger_accuracy:.4f} against {self.champion_accuracy:.4f} on {self.photos} "
            f"photos, {gain:+.4f} (at least {self.low:+.4f}, at most {self.high:+.4f}); {self.only_challenger} photos "
            f"are right by it alone, {self.only_champion} by the champion alone"
        )
        needed = "more than a million" if self.photos_needed is None else f"{self.photos_needed:,}"
        if self.verdict == "not enough photos":
            found += f"; 2 points are shown with 80 % by {needed} photos, by these with {self.power:.0%}"
        return found + "".join(f"; not kept: {rule}" for rule in self.broken)


def judge_models(
    service: Run,
    challenger: Run,
    champion_uri: str,
    challenger_uri: str,
    *,
    asked: str,
    extend: bool,
    rules: Rules = RULES,
) -> GateRecord:
    """Have both models answer the endpoint's frozen photos, and decide; the same decision is not made twice.

    `asked` is what suffices for a promotion: "better", or "not worse". With `extend`, the test split of the
    challenger's data is added to the frozen photos.

    Raises:
        DataRefused: a model was trained on photos of the evaluation set.
        StageFailed, WaitTimedOut, MalformedAnswer, AwsFailed, DiskFailed: as `answer_both`.
    """
    data = challenger.need(DatasetRef)
    photos = freeze(service, data if extend else None)
    kept = challenger.find(GateRecord)
    same = (champion_uri, challenger_uri, photos.digest, asked)
    if kept is not None and (kept.champion, kept.challenger, kept.evaluation_set, kept.asked) == same:
        say(f"gate: {kept.text} (adopted)")
        return kept
    rows = held_out(service.aws, photos.parts)
    refuse_trained(rows, read_rows(service.aws, Part.of(data)), f"run {challenger.id}")
    (champion, rival), classes = answer_both(challenger, photos, rows, [champion_uri, challenger_uri])
    decision = judge(champion.predictions, rival.predictions, classes, rules, tuple(_costs(champion, rival, rules)))
    record = _record(decision, photos, (champion, rival), asked, (champion_uri, challenger_uri))
    challenger.keep(record)
    say(f"gate: {record.text}")
    return record


def _costs(champion: Answered, rival: Answered, rules: Rules) -> list[RuleResult]:
    slower = rival.seconds / max(champion.seconds, 1e-9)
    larger = rival.size_bytes / max(champion.size_bytes, 1)
    return [
        RuleResult("time of a photo, times the champion's", slower, rules.slower),
        RuleResult("size of the archive, times the champion's", larger, rules.larger),
    ]


def _record(
    found: Decision, photos: EvaluationSet, both: tuple[Answered, Answered], asked: str, names: tuple[str, str]
) -> GateRecord:
    accuracies = [float((each.predictions.labels == each.predictions.predicted).mean()) for each in both]
    return GateRecord(
        champion=names[0],
        challenger=names[1],
        evaluation_set=photos.digest,
        photos=found.paired.photos,
        verdict=found.verdict,
        only_champion=found.paired.only_first,
        only_challenger=found.paired.only_second,
        champion_accuracy=accuracies[0],
        challenger_accuracy=accuracies[1],
        low=found.low,
        high=found.high,
        p_value=found.paired.p_value,
        log_loss=found.paired.log_loss.value,
        power=found.power,
        photos_needed=found.photos_needed,
        rules=tuple(rule.text for rule in found.rules),
        broken=tuple(rule.text for rule in found.rules if not rule.is_kept),
        asked=asked,
        may_be_promoted=found.may_be_promoted(not_worse_suffices=asked == "not worse"),
        champion_ms=1000 * both[0].seconds,
        challenger_ms=1000 * both[1].seconds,
    )
