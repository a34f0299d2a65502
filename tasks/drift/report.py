"""The record of what has changed in an endpoint's requests, and its Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.run.escaping import markdown_table, markdown_text
from tasks.run.record_store import Count, Record, Share

_WORDS = {"photos": "the photos", "classes": "the predicted classes", "confidence": "the confidence"}


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
    were no records of a photo. `reference_photos` of the test split of `model_of`, the run whose model serves, were
    embedded. `level` bounds the chance that any of the tests finds a change where there is none. `deleted` objects were
    older than they were to be kept.
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
    model_of: str = ""

    @property
    def changed(self) -> tuple[str, ...]:
        """What has changed."""
        return tuple(test.of for test in self.tests if test.has_changed)

    @property
    def least_p_value(self) -> float:
        """The p value up to which each test says that there is a change."""
        return self.level / len(self.tests)

    @property
    def verdict(self) -> str:
        """What was found, in a sentence."""
        if not self.changed:
            return "No change was found."
        what = " and ".join(_WORDS[of] for of in self.changed)
        return f"There is drift: {what} changed, so the model's accuracy on these photos is not known."

    @property
    def summary(self) -> str:
        """The verdict, what was compared, and the p values, in one text."""
        found = ", ".join(f"{test.of} p = {test.p_value:.3g}" for test in self.tests)
        return f"{self.verdict} {self.compared} {found}; level {self.level:g}."

    @property
    def compared(self) -> str:
        """What was compared, in a sentence."""
        return (
            f"{self.photos} distinct photos of {self.requests} kept requests, {_minute(self.since)} to "
            f"{_minute(self.until)} UTC, were compared with {self.reference_photos} photos of the test split"
            f"{f' of run {self.model_of}' if self.model_of else ''}."
        )


def drift_text(report: DriftReport) -> str:
    """Return the report in plain sentences, one a line: what was compared, each test, the deletion, the verdict."""
    tests = [f"{_WORDS[each.of].capitalize()}: {_word(each)}, p = {each.p_value:.3g}." for each in report.tests]
    unusable = [f"{report.unusable} kept lines told of no photo and its answer."] if report.unusable else []
    found = [
        report.compared,
        *unusable,
        *tests,
        f"A test tells a change if its p is at most {report.least_p_value:.3g}, so that all {len(report.tests)} "
        f"together find one where there is none with a chance of at most {report.level:g}.",
        *([_share_text(report)] if "classes" in report.changed else []),
        f"Objects of kept requests that were deleted because of their age: {report.deleted}.",
        report.verdict,
    ]
    return "\n".join(found)


def _share_text(report: DriftReport) -> str:
    most = max(report.classes, key=lambda each: abs(each.observed - each.reference))
    shares = f"{most.reference:.1%} of the test split and {most.observed:.1%} of the requests"
    return f"The class {most.name} changed most: the model named it for {shares}."


def _minute(moment: str) -> str:
    """Return a time in ISO 8601 as a date and a time of day."""
    return moment[:16].replace("T", " ")


def drift_markdown(report: DriftReport) -> str:
    """Return the report as Markdown: the verdict, the tests, and the classes whose share changed most."""
    tests = [[each.of, f"{each.statistic:.4g}", f"{each.p_value:.3g}", _word(each)] for each in report.tests]
    most = sorted(report.classes, key=lambda each: -abs(each.observed - each.reference))[:10]
    shares = [[markdown_text(each.name), f"{each.reference:.1%}", f"{each.observed:.1%}"] for each in most]
    return "\n\n".join(
        [
            f"**{markdown_text(report.endpoint)}**: {report.verdict}",
            f"{report.compared} The level is {report.level:g} for all tests together.",
            "\n".join(markdown_table(["of", "statistic", "p", "verdict"], tests)),
            "\n".join(markdown_table(["class", "test split", "requests"], shares)),
        ]
    )


def _word(test: DriftTest) -> str:
    return "changed" if test.has_changed else "no change found"
