"""The paragraph about what may replace the model: the gate's decision, the promotion, and drift."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.run.handle import RunFolder
from tasks.run.naming import RUN_ID
from tasks.writeup.prose import Paragraph, Part, paragraph, sentence
from tasks.writeup.sources import Sources

RELEASES, RETRAINING, GATE = "releases.json", "retraining.json", "gate.json"
AGREEMENT, PROMOTION, DRIFT = "agreement.json", "promotion.json", "drift.json"
CANARY = "canary.json"


def retraining(run: Sources) -> Paragraph:
    """Return what the latest retraining came to, how the endpoint was changed, and whether its requests have changed.

    Raises:
        StageFailed: a figure cannot be cited.
    """
    title = "Retraining, and what may replace the model"
    told = [*_retrained(run), *_decided(_challenger(run)), *_agreed(run), *_promoted(run), *_drifted(run)]
    return paragraph(title, *(told or [sentence("The model was not trained anew in this run.")]))


def _challenger(run: Sources) -> Sources:
    """Return the records of the challenger that the latest retraining trained, or those of the run itself."""
    name = run.value(RETRAINING, "challenger") if run.has(RETRAINING) else ""
    return Sources(RunFolder(run.run.folder.with_name(name))) if RUN_ID.fits(name) else run


def _retrained(run: Sources) -> Iterator[tuple[Part, ...]]:
    if run.has(RETRAINING):
        yield sentence(
            "The latest retraining, at {at}, trained run {challenger}. Its outcome: {outcome}.",
            at=run.text(RETRAINING, "at"),
            challenger=run.text(RETRAINING, "challenger"),
            outcome=run.text(RETRAINING, "outcome"),
        )


def _decided(run: Sources) -> Iterator[tuple[Part, ...]]:
    if not run.has(GATE):
        return
    low, high = run.value(GATE, "low"), run.value(GATE, "high")
    yield sentence(
        "Both models answered the same {photos}, on which neither was trained. The new one has {challenger} of them "
        "right and the one that serves {champion}; the difference, bounded at each end with a confidence of {level}, "
        "is {difference}. The gate's verdict is: {verdict}.",
        photos=run.number(GATE, "photos", ",", "photos"),
        challenger=run.share(GATE, "challenger_accuracy"),
        champion=run.share(GATE, "champion_accuracy"),
        level=run.computed("95 %", "confidence", (GATE, "low"), (GATE, "high")),
        difference=run.computed(f"{low:+.4f} to {high:+.4f}", "bounds", (GATE, "low"), (GATE, "high")),
        verdict=run.text(GATE, "verdict"),
    )
    broken = run.value(GATE, "broken")
    if broken:
        yield sentence("Not kept: {rules}.", rules=run.computed("; ".join(broken), "list", (GATE, "broken")))


def _agreed(run: Sources) -> Iterator[tuple[Part, ...]]:
    if run.has(AGREEMENT):
        yield sentence(
            "Before any caller was answered by {challenger}, it was asked with copies of {requests}: on {agreed} of "
            "{photos} it gave the same class as {champion}, which is judged as: {outcome}.",
            challenger=run.text(AGREEMENT, "challenger"),
            champion=run.text(AGREEMENT, "champion"),
            requests=run.number(AGREEMENT, "requests", ",", "requests"),
            agreed=run.computed(f"{run.value(AGREEMENT, 'agreed'):,}", "photos", (AGREEMENT, "agreed")),
            photos=run.number(AGREEMENT, "photos", ",", "photos"),
            outcome=run.text(AGREEMENT, "outcome"),
        )


def _promoted(run: Sources) -> Iterator[tuple[Part, ...]]:
    if run.has(PROMOTION):
        yield sentence(
            "The endpoint was changed to {label} ({steps}): {outcome}.",
            label=run.text(PROMOTION, "release.label"),
            steps=run.text(PROMOTION, "steps"),
            outcome=run.text(PROMOTION, "outcome"),
        )
    if run.has(RELEASES):
        yield sentence("It has served {all} models.", all=run.count(RELEASES, "all"))
    if run.has(CANARY):
        yield sentence(
            "A new version of the function got {weight} of the calls while alarms watched it, and answered {touched} "
            "of {sent} photos that were sent for that: {outcome}.",
            weight=run.share(CANARY, "weight"),
            touched=run.computed(f"{run.value(CANARY, 'touched'):,}", "photos", (CANARY, "touched")),
            sent=run.computed(f"{run.value(CANARY, 'sent'):,}", "photos", (CANARY, "sent")),
            outcome=run.text(CANARY, "outcome"),
        )


def _drifted(run: Sources) -> Iterator[tuple[Part, ...]]:
    if not run.has(DRIFT):
        return
    changed = [each["of"] for each in run.value(DRIFT, "tests") if each["has_changed"]]
    yield sentence(
        "From {since} to {until} it was asked about {photos}, which were compared with {reference} of the test split. "
        "What has changed: {changed}.",
        since=run.text(DRIFT, "since"),
        until=run.text(DRIFT, "until"),
        photos=run.number(DRIFT, "photos", ",", "photos"),
        reference=run.number(DRIFT, "reference_photos", ",", "photos"),
        changed=run.computed(", ".join(changed) or "nothing that was found", "tests that changed", (DRIFT, "tests")),
    )
