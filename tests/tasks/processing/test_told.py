"""What a job's hosts told is refused when it cannot be, and a completed job is used only if all is there."""

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest

from tasks.data.split_record import SplitRecord
from tasks.data.upload import dataset_prefix
from tasks.processing import area as areas
from tasks.processing.area import Area
from tasks.processing.job import is_usable
from tasks.processing.stage import answered, keep_splits
from tasks.processing.told import read_shards, read_verdict
from tasks.run.errors import AwsFailed, MalformedAnswer, StageFailed
from tests.tasks.data.workplace import Workplace
from tests.tasks.processing.photo_buckets import PhotoBucket
from tests.tasks.processing.test_order import order_of

DIGEST, OTHER, PHOTO = "d" * 64, "e" * 64, "a" * 64
KEY, DATA = "train/shard-00000.tar", b"a shard"
FINDINGS: Mapping[str, Any] = {"quarantined": [], "warnings": [], "ignored": 0, "unused": [], "notes": []}
VERDICT: Mapping[str, Any] = {
    "digest": DIGEST,
    "classes": ["cat"],
    "counts": {"train": {"cat": 1}},
    "findings": FINDINGS,
    "problems": [],
    "made": {PHOTO: "train"},
}
SHARD: Mapping[str, Any] = {
    "key": KEY,
    "sha256": hashlib.sha256(DATA).hexdigest(),
    "md5": hashlib.md5(DATA).hexdigest(),
    "size_bytes": len(DATA),
    "images": 1,
}
PLAN = [["train", KEY, [[0, 0, 0]]]]


@pytest.fixture
def place(photos: PhotoBucket) -> Workplace:
    made = photos.place()
    made.s3.create_bucket(Bucket=made.aws.bucket)
    return made


@pytest.fixture
def area(place: Workplace) -> Area:
    return Area(place.aws, place.aws.bucket, "runs/r/staging/job")


def tell_all(area: Area, verdict: Mapping[str, Any] = VERDICT, *, is_wanted: bool = True) -> None:
    """Tell what the host of a job tells that made one shard, and the answer that it got."""
    area.tell(areas.VERDICT, verdict)
    area.tell(areas.ANSWER, {"is_wanted": is_wanted, "digest": DIGEST})
    area.tell(areas.PLAN, PLAN)
    area.tell(f"{areas.SHARDS}/algo-1", [SHARD])
    area.put(f"{areas.MADE}/{KEY}", DATA)
    area.put(f"{areas.MADE}/images.jsonl", b"{}")


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "../../runs/r"},
        {"classes": ["cat", "cat"]},
        {"counts": {"train": {"dog": 1}}},
        {"counts": {"elsewhere": {"cat": 1}}},
        {"counts": {"train": {"cat": -1}}},
        {"made": {PHOTO: "elsewhere"}},
        {"made": {"no digest": "train"}},
        {"made": {PHOTO: "train", OTHER: "test"}},
        {"problems": [7]},
        {"findings": {**FINDINGS, "ignored": "many"}},
        {"more": 1},
    ],
    ids=str,
)
def test_a_verdict_that_cannot_be_is_refused(area: Area, changed: Mapping[str, Any]) -> None:
    assert read_verdict(VERDICT, area).made == {PHOTO: "train"}
    with pytest.raises(MalformedAnswer, match="cannot be read"):
        read_verdict({**VERDICT, **changed}, area)


@pytest.mark.parametrize(
    "rows",
    [
        [SHARD, SHARD],
        [{**SHARD, "size_bytes": "7"}],
        [{**SHARD, "md5": "none"}],
        [{**SHARD, "images": 2}],
        [{**SHARD, "key": "train/../../../manifest.json"}],
        [SHARD, {**SHARD, "key": "train/shard-00001.tar"}],
        {"key": KEY},
    ],
    ids=str,
)
def test_shards_that_are_not_those_planned_each_once_are_refused(area: Area, rows: Any) -> None:
    tell_all(area)
    verdict = read_verdict(VERDICT, area)
    assert [shard.row for shard in read_shards(area, verdict)] == [SHARD]
    area.tell(f"{areas.SHARDS}/algo-1", rows)
    with pytest.raises(MalformedAnswer):
        read_shards(area, verdict)


def test_a_completed_job_of_which_something_is_gone_is_not_used_again(place: Workplace, area: Area) -> None:
    tell_all(area)
    assert is_usable(area, "Completed")
    place.s3.copy_object(
        Bucket=area.bucket,
        Key=f"{dataset_prefix(DIGEST)}/{KEY}",
        CopySource={"Bucket": area.bucket, "Key": f"{area.prefix}/{areas.MADE}/{KEY}"},
    )
    place.s3.delete_object(Bucket=area.bucket, Key=f"{area.prefix}/{areas.MADE}/{KEY}")
    assert is_usable(area, "Completed"), "the shard is in the dataset"

    place.s3.put_object(Bucket=area.bucket, Key=f"{dataset_prefix(DIGEST)}/{KEY}", Body=b"another")
    assert not is_usable(area, "Completed")
    tell_all(area)
    for name in (areas.VERDICT, areas.PLAN, areas.ANSWER, f"{areas.SHARDS}/algo-1"):
        place.s3.delete_object(Bucket=area.bucket, Key=f"{area.prefix}/{name}.json.gz")
        assert not is_usable(area, "Completed"), name
        tell_all(area)


def test_a_completed_job_that_refused_its_source_is_used_and_not_paid_for_anew(area: Area) -> None:
    tell_all(area, {**VERDICT, "problems": ["only one class"]}, is_wanted=False)

    assert is_usable(area, "Completed")
    assert not is_usable(area, "Failed")


def test_hosts_are_told_that_nothing_is_wanted_when_their_verdict_cannot_be_answered(area: Area) -> None:
    assert is_usable(area, "InProgress")
    with pytest.raises(AwsFailed), answered(area):
        raise AwsFailed("s3", "no", "answer", "again")

    assert area.hear(areas.ANSWER)["is_wanted"] is False
    assert not is_usable(area, "InProgress") and not is_usable(area, "Completed")


def test_a_verdict_with_other_splits_than_those_kept_meanwhile_is_refused(place: Workplace, area: Area) -> None:
    source, verdict = order_of({}).located(place.settings), read_verdict(VERDICT, area)
    record = SplitRecord(source.options, place.settings)
    keep_splits(source, place.run, verdict)
    assert record.read() == {PHOTO: "train"}
    keep_splits(source, place.run, verdict)

    with pytest.raises(StageFailed, match="1 photos are in other splits"):
        keep_splits(source, place.run, read_verdict({**VERDICT, "made": {PHOTO: "test"}}, area))
    assert record.read() == {PHOTO: "train"}
