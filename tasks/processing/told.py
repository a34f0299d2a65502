"""Reads what the hosts of a job told, of which every value is checked: a host decodes files that anybody may have made.

This machine does not see the photos. So it cannot tell whether a host judged them rightly, only whether what it says is
possible and agrees with itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar

from pydantic import TypeAdapter

from tasks.account import objects
from tasks.data.upload import dataset_prefix
from tasks.processing import area as areas
from tasks.processing.area import Area
from tasks.processing.verdict import Digest, Split, Verdict
from tasks.run.errors import MalformedAnswer, StageFailed
from tasks.run.record_store import Count
from tasks.run.text_form import TextForm

ROWS = "images.jsonl"
Key = Annotated[str, TextForm(r"(train|validation|test)/shard-[0-9]{5,9}\.tar", "the key of a shard")]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Shard:
    """What a host says of a shard that it wrote; `images` is how many there are in it."""

    key: Key
    sha256: Digest
    md5: Annotated[str, TextForm("[0-9a-f]{32}", "an MD5 in hex")]
    size_bytes: Count
    images: Count

    @property
    def row(self) -> Mapping[str, Any]:
        """What a manifest says of it."""
        return asdict(self)

    @property
    def content(self) -> objects.Content:
        """What the object holds."""
        return objects.Content(self.size_bytes, self.sha256, self.md5)


Plan = tuple[Split, Key, tuple[tuple[Count, Count, Count], ...]]
_PLANS: TypeAdapter[tuple[Plan, ...]] = TypeAdapter(tuple[Plan, ...])
_SHARDS: TypeAdapter[tuple[Shard, ...]] = TypeAdapter(tuple[Shard, ...])
_VERDICT: TypeAdapter[Verdict] = TypeAdapter(Verdict)


def read_verdict(told: Any, area: Area) -> Verdict:
    """Return the verdict of the first host.

    Raises:
        MalformedAnswer: it cannot be one.
    """
    verdict = _checked(_VERDICT, told, area, areas.VERDICT)
    why = _contradiction(verdict)
    if why is not None:
        raise _refusal(area, areas.VERDICT, why)
    return verdict


def _contradiction(verdict: Verdict) -> str | None:
    """Return in which words a verdict contradicts itself, or None."""
    if len(set(verdict.classes)) < len(verdict.classes):
        return "it has a class twice"
    counted = {name for by_class in verdict.counts.values() for name in by_class}
    if not counted <= set(verdict.classes):
        return "it counts images of a class that it does not have"
    images = sum(sum(by_class.values()) for by_class in verdict.counts.values())
    if len(verdict.made) > images + len(verdict.findings.quarantined):
        return "it has splits of more photos than it has"
    return None


def read_shards(area: Area, verdict: Verdict) -> tuple[Shard, ...]:
    """Return the shards that all hosts have written, in the order of their keys.

    Raises:
        StageFailed: one is missing, or what was told is gone.
        MalformedAnswer: a host told something that cannot be.
    """
    plans = _checked(_PLANS, area.hear(areas.PLAN), area, areas.PLAN)
    told = [_checked(_SHARDS, area.hear(name), area, name) for name in _names(area)]
    shards = sorted((shard for of_host in told for shard in of_host), key=lambda shard: shard.key)
    planned = {key: len(images) for _, key, images in plans}
    missing = sorted(planned.keys() - {shard.key for shard in shards})
    if missing:
        raise lost(area, missing)
    if [(shard.key, shard.images) for shard in shards] != sorted(planned.items()) or len(plans) > len(planned):
        raise _refusal(area, areas.SHARDS, "its shards are not those that were planned, each once")
    for split, by_class in verdict.counts.items():
        if sum(count for key, count in planned.items() if key.startswith(f"{split}/")) != sum(by_class.values()):
            raise _refusal(area, areas.PLAN, f"the shards of {split} do not have as many images as were counted")
    return tuple(shards)


def _names(area: Area) -> list[str]:
    return [f"{areas.SHARDS}/{host}" for host in area.told(areas.SHARDS)]


def lost(area: Area, missing: Sequence[str]) -> StageFailed:
    """Return the error that shards are missing."""
    what = f"{len(missing)} objects that {area.uri} made are missing or damaged"
    why = "the job completed without them, or somebody removed them"
    return StageFailed("stage_data", what, why, "run the same command again, which makes a new attempt")


@dataclass(frozen=True)
class Stored:
    """Where the shards of a job are: in the dataset, or in the job's area only, and which are in neither."""

    committed: tuple[str, ...]
    waiting: tuple[str, ...]
    missing: tuple[str, ...]


def look_at_shards(area: Area, digest: str, shards: Sequence[Shard]) -> Stored:
    """Look where the shards and the rows of a dataset are stored as the hosts say.

    The rows, images.jsonl, are as they are: no host says what their bytes are.

    Raises:
        AwsFailed: S3 refused or did not answer.
    """
    aws, prefix = area.aws, dataset_prefix(digest)
    made = f"{area.prefix}/{areas.MADE}"
    here = objects.list_objects(aws, area.bucket, f"{prefix}/") | objects.list_objects(aws, area.bucket, f"{made}/")

    def place(shard: Shard) -> str | None:
        found = (f"{each}/{shard.key}" for each in (prefix, made))
        return next((key for key in found if objects.is_stored(aws, area.bucket, here.get(key), shard.content)), None)

    with ThreadPoolExecutor(aws.settings.upload_threads) as pool:
        places = dict(zip((shard.key for shard in shards), pool.map(place, shards), strict=True))
    rows = (f"{each}/{ROWS}" for each in (made, prefix))
    places[ROWS] = next((key for key in rows if key in here), None)
    return Stored(
        committed=tuple(key for key, place in places.items() if place is not None and place.startswith(f"{prefix}/")),
        waiting=tuple(key for key, place in places.items() if place is not None and place.startswith(f"{made}/")),
        missing=tuple(key for key, place in places.items() if place is None),
    )


def _checked(adapter: TypeAdapter[Found], told: Any, area: Area, name: str) -> Found:
    try:
        return adapter.validate_json(json.dumps(told), strict=True, extra="forbid")
    except ValueError as error:
        raise _refusal(area, name, str(error)[:200]) from error


def _refusal(area: Area, name: str, problem: str) -> MalformedAnswer:
    what = f"{area.uri}/{name} cannot be read ({problem})"
    why = "the job ran other code than this, or somebody changed what it told"
    return MalformedAnswer("stage_data", what, why, "run the same command again, which makes a new attempt")
