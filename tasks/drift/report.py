"""The record of what has changed in an endpoint's requests, and its Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.run.escaping import markdown_table, markdown_text
from tasks.run.record_store import Count, Record, Share


@dataclass(frozen=True)
class DriftTest:
    """A test of one thing: its statistic, the chance of so large a one without a change, and whether that is too small.

    `of` is "photos" (MMD of embeddings), "classes" (chi-square of predicted classes) or "confidence"
    (Kolmogorov-Smirnov of the predicted classes' probabilities).
    """

    of: str
    statistic: float
    p_value: Share
    has_changed: bool


@dataclass(frozen=True)
class ClassShare:
    """Which share of the reference photos, and of those of the endpoint, was taken for a class."""

    name: str
    reference: Share
    observed: Share


@dataclass(frozen=True)
class DriftReport(Record, file="drift.json", called="drift report", made_by="drift"):
    """Whether the photos that an endpoint was asked about, or its answers, differ from those of the test split.

    From `since` to `until` (UTC, ISO 8601) so many `requests` were kept, with so many distinct `photos`; `unusable`
    were no records of a photo. `reference_photos` of the test split were embedded. `level` bounds the chance that any
    of the tests finds a change where there is none. `deleted` objects were older than they were to be kept.
    """

    endpoint: str
    since: str
    until: str
    requests: Count
    photos: Count
    unusable: Count
    reference_photos: Count
    level: Share
    tests: tuple[DriftTest, ...]
    classes: tuple[ClassShare, ...]
    deleted: Count = 0

    @property
    def changed(self) -> tuple[str, ...]:
        """What has changed."""
        return tuple(test.of for test in self.tests if test.has_changed)


def drift_markdown(report: DriftReport) -> str:
    """Return the report as Markdown: the verdict, the tests, and the classes whose share changed most."""
    verdict = f"changed: {', '.join(report.changed)}" if report.changed else "no change was found"
    tests = [[each.of, f"{each.statistic:.4g}", f"{each.p_value:.3g}", _word(each)] for each in report.tests]
    most = sorted(report.classes, key=lambda each: -abs(each.observed - each.reference))[:10]
    shares = [[markdown_text(each.name), f"{each.reference:.1%}", f"{each.observed:.1%}"] for each in most]
    return "\n\n".join(
        [
            f"**{markdown_text(report.endpoint)}**, {report.since} to {report.until}: {verdict}.",
            f"{report.photos} distinct photos of {report.requests} kept requests, against "
            f"{report.reference_photos} photos of the test split; level {report.level:g} for all tests together.",
            "\n".join(markdown_table(["of", "statistic", "p", "verdict"], tests)),
            "\n".join(markdown_table(["class", "test split", "requests"], shares)),
        ]
    )


def _word(test: DriftTest) -> str:
    return "changed" if test.has_changed else "no change found"
