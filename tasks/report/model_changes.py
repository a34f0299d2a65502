"""Writes what became of an endpoint's model since: releases, the latest retraining, its gate, promotion, drift.

And of the function in front of it: the latest new version that got a share of the calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.drift.report import DriftReport, drift_markdown
from tasks.gate.gate import GateRecord
from tasks.promotion.agreement import Agreement
from tasks.promotion.canary import Canary
from tasks.promotion.promote import Promotion
from tasks.retraining.record import Retraining
from tasks.run.escaping import code_span, markdown_table, markdown_text
from tasks.run.record_store import Record
from tasks.serving.releases import Releases

RETRAINING, DRIFT = "Retraining and promotion", "Drift"
MODEL_CHANGES: tuple[type[Record], ...] = (Releases, Retraining, GateRecord, Agreement, Promotion, Canary, DriftReport)
"""The records of what may replace an endpoint's model."""


@dataclass(frozen=True)
class ModelChanges:
    """The records of what may replace an endpoint's model; each is None until its flow has run.

    `decision` is that of the gate about the latest challenger; in a challenger's own run, about its model.
    """

    releases: Releases | None = None
    retraining: Retraining | None = None
    decision: GateRecord | None = None
    agreement: Agreement | None = None
    promotion: Promotion | None = None
    canary: Canary | None = None
    drift: DriftReport | None = None


def retraining_markdown(changes: ModelChanges) -> list[str]:
    """Return the lines of the report's section, none without a record."""
    told = [*_releases(changes.releases), *_retraining(changes.retraining), *_decision(changes.decision)]
    told += [*_agreement(changes.agreement), *_promotion(changes.promotion), *_canary(changes.canary)]
    return [f"## {RETRAINING}", "", *told] if told else []


def drift_section(report: DriftReport | None) -> list[str]:
    """Return the lines of the report's section, none without a record."""
    return [] if report is None else [f"## {DRIFT}", "", *drift_markdown(report).split("\n"), ""]


def _releases(releases: Releases | None) -> Iterator[str]:
    if releases is None:
        return
    shown = [(each.label, each.trained_by, _minute(each.at), each.why) for each in reversed(releases.all)]
    yield f"The endpoint serves {markdown_text(releases.serving.label)}. What it has served, the latest first:"
    yield ""
    yield from markdown_table(("model", "trained by run", "since", "why"), [_escaped(*row) for row in shown])
    yield ""


def _retraining(found: Retraining | None) -> Iterator[str]:
    if found is not None:
        by = f", run {code_span(found.challenger)}" if found.challenger else ""
        yield f"The latest retraining{by}, {markdown_text(_minute(found.at))}: {_sentence(found.outcome, found.why)}"
        yield ""


def _decision(found: GateRecord | None) -> Iterator[str]:
    if found is None:
        return
    rows = [
        ("verdict", f"{found.verdict}; {'may' if found.may_be_promoted else 'may not'} be promoted"),
        ("asked for", found.asked),
        ("photos that neither model was trained on", f"{found.photos:,}"),
        ("accuracy of the new model", f"{found.challenger_accuracy:.4f}"),
        ("accuracy of the one that serves", f"{found.champion_accuracy:.4f}"),
        ("difference, bounds at 95 % each", f"{found.low:+.4f} to {found.high:+.4f}"),
        ("right by one of them alone", f"{found.only_challenger} the new, {found.only_champion} the serving"),
        ("exact McNemar's test, one-sided p", f"{found.p_value:.3g}"),
        ("2 points more would be shown with", f"{found.power:.0%}"),
        ("milliseconds a photo, new and serving", f"{found.challenger_ms:.1f}, {found.champion_ms:.1f}"),
        *(("not kept" if rule in found.broken else "kept", rule) for rule in found.rules),
    ]
    yield "What the gate found:"
    yield ""
    yield from markdown_table(("", ""), [_escaped(*row) for row in rows])
    yield ""


def _agreement(found: Agreement | None) -> Iterator[str]:
    if found is not None:
        yield f"On copies of {found.requests:,} requests: {_sentence(found.outcome, found.text)}"
        yield ""


def _promotion(found: Promotion | None) -> Iterator[str]:
    if found is not None:
        steps = f"Latest change of the endpoint, to {found.release.label}, {_minute(found.at)}, {found.steps}"
        yield f"{markdown_text(steps)}: {_sentence(found.outcome, found.why)}"
        yield ""


def _canary(found: Canary | None) -> Iterator[str]:
    if found is not None:
        steps = f"Latest new version of function {found.function}, after version {found.former}, {_minute(found.at)}"
        yield f"{markdown_text(steps)}: {_sentence(found.outcome, f'{found.why}; {found.text}' if found.why else '')}"
        yield ""


def _minute(at: str) -> str:
    """Return a time of UTC in ISO 8601 as a person reads it, without its seconds."""
    return f"{at[:16].replace('T', ' ')} UTC"


def _sentence(outcome: str, why: str) -> str:
    return f"**{markdown_text(outcome)}**{f': {markdown_text(why)}' if why else ''}."


def _escaped(*texts: str) -> tuple[str, ...]:
    return tuple(map(markdown_text, texts))
