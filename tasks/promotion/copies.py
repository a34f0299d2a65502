"""Reads what the production variant and the shadow variant answered to the same photos, from an endpoint's capture."""

from __future__ import annotations

from collections import Counter

from tasks.account.objects import list_objects
from tasks.drift.captured import UNUSABLE, lines_of, photo_of
from tasks.run.aws import Aws
from tasks.serving.endpoint_plan import SHADOW, VARIANT

MOST_BYTES = 2**31
"""Of captured objects; what comes beyond is not read, because that many photos tell enough."""


class Copies:
    """The answers of both variants that were captured below a prefix so far, by the photo's digest."""

    def __init__(self, aws: Aws, bucket: str, prefix: str) -> None:
        self._aws, self._bucket, self._prefix = aws, bucket, prefix
        self._seen: set[str] = set()
        self._bytes_left = MOST_BYTES
        self._labels: dict[str, dict[str, str]] = {VARIANT: {}, SHADOW: {}}
        self._counts: dict[str, Counter[str]] = {VARIANT: Counter(), SHADOW: Counter()}

    @property
    def same(self) -> list[bool]:
        """Whether both answered the same class, of each distinct photo that both answered."""
        served, copied = self._labels[VARIANT], self._labels[SHADOW]
        return [served[photo] == copied[photo] for photo in served.keys() & copied.keys()]

    @property
    def requests(self) -> int:
        """How many requests both answered."""
        return (self._counts[VARIANT] & self._counts[SHADOW]).total()

    def read(self) -> None:
        """Read the objects that have come since the last time; a line that tells of no photo is left out.

        Raises:
            AwsFailed: S3 refused, or did not answer.
        """
        for variant in (VARIANT, SHADOW):
            stored = list_objects(self._aws, self._bucket, f"{self._prefix}/{variant}/")
            for key in sorted(stored.keys() - self._seen):
                self._seen.add(key)
                self._bytes_left -= stored[key].size_bytes
                if self._bytes_left >= 0:
                    self._take(variant, lines_of(self._aws, self._bucket, stored[key]))

    def _take(self, variant: str, lines: list[bytes]) -> None:
        for line in lines:
            try:
                photo, _ = photo_of(line, None)
            except UNUSABLE:
                continue
            self._labels[variant][photo.sha256] = photo.label
            self._counts[variant][photo.sha256] += 1
