"""What an inspection found, as it is written to inspection.json and shown on its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.run.records import Quarantined


@dataclass(frozen=True)
class FoundPhoto:
    """A photo that a person should look at: its name in the source, split, class, and what was found."""

    name: str
    split: str
    label: str
    text: str


@dataclass(frozen=True)
class FoundPair:
    """Two photos that are the same or nearly, `name` of the class `label` in `split`, and its `twin`."""

    name: str
    split: str
    label: str
    twin: str
    twin_split: str
    twin_label: str
    is_exact: bool


@dataclass(frozen=True)
class Estimate:
    """An accuracy, measured on `photos` photos that were left out in turn, with its 95 % interval (Wilson 1927)."""

    method: str
    accuracy: float
    low: float
    high: float
    photos: int


@dataclass(frozen=True)
class Accuracy:
    """The range in which the accuracy of a trained head is expected, and the estimates that it comes from."""

    low: float
    high: float
    backbone: str
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True)
class TrainingTime:
    """What training is expected to take: passes through the network, at the measured pace, on an instance.

    `seconds` is the work at `photos_per_second`, measured on `hardware`; `usd` is for that time, at least `billed`
    seconds, and None when no price is known.
    """

    passes: int
    photos_per_second: float
    hardware: str
    seconds: float
    instance: str
    usd_per_hour: float | None
    billed: float
    usd: float | None


@dataclass(frozen=True)
class Inspection:
    """What is known of a source before it is used; `problems` is empty when it would be accepted.

    `shortest_sides` are the least, median and greatest shortest side in px. Lists of photos have all that were found.
    """

    source: str
    name: str
    digest: str
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    images: int
    classes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    shortest_sides: tuple[int, int, int]
    smaller_than_crop: int
    crop: int
    staged_bytes: int
    left_out: tuple[Quarantined, ...]
    pairs: tuple[FoundPair, ...]
    dark: tuple[FoundPhoto, ...]
    bright: tuple[FoundPhoto, ...]
    blurred: tuple[FoundPhoto, ...]
    suspects: tuple[FoundPhoto, ...]
    embedded: int
    accuracy: Accuracy | None
    training: TrainingTime | None
    seconds: float

    @property
    def is_accepted(self) -> bool:
        """Whether staging would accept the source."""
        return not self.problems
