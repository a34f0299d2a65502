"""What the first host of a staging job finds in the photos of all hosts, and what this machine makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from tasks.data.examination import Examined
from tasks.data.judgement import count_images
from tasks.data.judgement_cache import Findings, Judgement, LocatedSource
from tasks.run.record_store import Count
from tasks.run.text_form import TextForm

Digest = Annotated[str, TextForm("[0-9a-f]{64}", "a sha256 in hex")]
Split = Annotated[str, TextForm("train|validation|test", "train, validation or test")]


@dataclass(frozen=True)
class Verdict:
    """The judgement of a source by a job; `made` has the splits of photos that had none, `counts` the images."""

    digest: Digest
    classes: tuple[str, ...]
    counts: Mapping[Split, Mapping[str, Count]]
    findings: Findings
    problems: tuple[str, ...]
    made: Mapping[Digest, Split]

    @classmethod
    def of(cls, examined: Examined) -> Verdict:
        """Return that of a source that was examined."""
        return cls(
            digest=examined.digest,
            classes=examined.classes,
            counts=count_images(examined.classes, [image.labelled for image in examined.images]),
            findings=examined.findings,
            problems=examined.problems,
            made=examined.made,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as a value of JSON."""
        return {**asdict(self), "counts": {split: dict(each) for split, each in self.counts.items()}}

    @property
    def judgement(self) -> Judgement:
        """What the judgement cache stores of it."""
        return Judgement(self.digest, self.findings)


@dataclass(frozen=True)
class JudgedByJob:
    """A dataset that a job judged good and whose shards it has written: what a manifest says of it."""

    source: LocatedSource
    verdict: Verdict

    @property
    def digest(self) -> str:
        """The dataset's digest."""
        return self.verdict.digest

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names."""
        return self.verdict.classes

    @property
    def findings(self) -> Findings:
        """What was found in the source."""
        return self.verdict.findings

    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """The number of images by split and class."""
        return self.verdict.counts
