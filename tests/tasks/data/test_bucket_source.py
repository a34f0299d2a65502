"""Sources in a bucket of S3: a prefix is recognised by its listing, and an archive is downloaded with its ETag."""

import os
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.account.objects import list_objects
from tasks.data.archive import Reader
from tasks.data.bucket_source import fetch_objects, list_prefix, place_of, refusal_in_listing
from tasks.data.judgement_cache import JudgementCache
from tasks.data.staging import locate
from tasks.run.errors import AccessDenied, NotFound, SourceRefused
from tasks.run.progress import LineProgress
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Calls, Fault, counting_proxy
from tests.tasks.data.datasets import good_files, jpeg, tar_of, zip_of
from tests.tasks.data.workplace import Workplace

FILES = good_files(root="")


class Bucket:
    """A bucket that is not kennel's own, in front of which all calls are counted."""

    def __init__(self, place: Workplace, calls: Calls) -> None:
        self.place, self.calls = place, calls
        self.name = f"photos-of-others-{secrets.token_hex(6)}"
        self.s3 = place.s3
        self.s3.create_bucket(Bucket=self.name)

    def put(self, files: dict[str, bytes], prefix: str = "dogs/") -> str:
        for name, data in files.items():
            self.s3.put_object(Bucket=self.name, Key=prefix + name, Body=data)
        return f"s3://{self.name}/{prefix}"

    def reads(self) -> list[str]:
        """Return the calls that read objects of this bucket since the last time, without listings."""
        seen = [each for each in self.calls.seen if each.startswith(f"GET /{self.name}/") and "list-type" not in each]
        self.calls.seen.clear()
        return seen


@pytest.fixture
def bucket(localaws: RunningLocalAws, tmp_path: Path) -> Iterator[Bucket]:
    with counting_proxy(localaws.url) as calls:
        place = Workplace(calls.url, tmp_path, f"kennel-test-{secrets.token_hex(6)}")
        made = Bucket(place, calls)
        yield made
        calls.faults.clear()
        there = {each["Name"] for each in place.s3.list_buckets()["Buckets"]}
        for name in there & {made.name, place.aws.bucket}:
            if keys := list_objects(place.aws, name, ""):
                place.s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in keys]})
            place.s3.delete_bucket(Bucket=name)


def test_photos_below_a_prefix_are_staged_as_those_of_a_folder(bucket: Bucket) -> None:
    dataset, _ = bucket.place.stage(bucket.put(FILES))
    rows = bucket.place.rows(dataset)
    assert {row["name"] for row in rows} == set(FILES)
    assert (dataset.name, dataset.source) == ("dogs", f"s3://{bucket.name}/dogs/")
    assert len(bucket.reads()) >= len(FILES)


def test_an_unchanged_prefix_is_known_by_its_listing_and_only_a_new_photo_is_fetched(bucket: Bucket) -> None:
    source = bucket.put(FILES)
    first, _ = bucket.place.stage(source)
    bucket.reads()
    again, _ = bucket.place.stage(source)
    assert again == first and bucket.reads() == []
    bucket.put({"train/cat/new.jpg": jpeg(500)})
    changed, _ = bucket.place.stage(source)
    assert [each.partition("?")[0] for each in bucket.reads()] == [f"GET /{bucket.name}/dogs/train/cat/new.jpg"]
    assert changed.digest != first.digest and changed.images() == len(FILES) + 1


def test_an_object_that_was_replaced_is_another_dataset_and_the_old_bytes_go(bucket: Bucket) -> None:
    source = bucket.put(FILES)
    first, _ = bucket.place.stage(source)
    bucket.put({"train/cat/0.jpg": jpeg(501)})
    files = list((bucket.place.settings.home / "downloads").glob("*/objects/*"))
    for path in files:
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    second, _ = bucket.place.stage(source)
    there = list(files[0].parent.iterdir())
    assert second.digest != first.digest and len(there) == len(FILES) and len(set(there) - set(files)) == 1


def test_what_another_process_may_need_stays(bucket: Bucket) -> None:
    remote = list_prefix(bucket.place.aws, place_of(bucket.put(FILES)))
    fetch_objects(bucket.place.aws, remote, range(len(FILES)), LineProgress)
    bucket.put({"train/cat/0.jpg": jpeg(501)})
    (part := remote.listing.root / ".part").touch()
    os.utime(part, (0, 0))
    fetch_objects(bucket.place.aws, list_prefix(bucket.place.aws, remote.place), [], LineProgress)
    with Reader(remote.listing.root, remote.listing.kind) as reader:
        assert {entry.name: reader.read(entry) for entry in remote.listing.entries} == FILES
    assert part.exists()


def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(bucket: Bucket) -> None:
    bucket.put(FILES)
    bucket.put({"train/cat/x.jpg": b"x"}, prefix="dogs-2/")
    with_slash, without = (
        list_prefix(bucket.place.aws, place_of(f"s3://{bucket.name}/dogs{end}")) for end in ("", "/")
    )
    assert with_slash.digest == without.digest and len(without.objects) == len(FILES)


def page(name: str, token: str = "") -> tuple[int, bytes]:
    """Return one page of a listing with one object; `token` is that of the next page."""
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
    found = f'<Contents><Key>{name}</Key><Size>1</Size><ETag>"e"</ETag></Contents><KeyCount>1</KeyCount>'
    end = more if token else "<IsTruncated>false</IsTruncated>"
    return 200, f"<ListBucketResult><Name>b</Name>{found}{end}</ListBucketResult>".encode()


def test_a_listing_of_several_pages_is_read_to_its_end(bucket: Bucket) -> None:
    place = place_of(bucket.put({}))
    answers = (page("dogs/a.jpg", token="t"), page("dogs/b.jpg"))
    headers = (("x-amz-request-id", "0"),)
    bucket.calls.faults += [Fault("", instead=answer, headers=headers) for answer in answers]
    assert [entry.name for entry in list_prefix(bucket.place.aws, place).listing.entries] == ["a.jpg", "b.jpg"]
    assert "continuation-token=t" in bucket.calls.seen[-1]


def test_a_prefix_beyond_the_limits_is_refused_before_anything_is_fetched(bucket: Bucket) -> None:
    source = bucket.put(FILES)
    for limit, allowed in (("max_archive_files", 3), ("max_archive_bytes", 2000)):
        few = Workplace(bucket.calls.url, bucket.place.settings.home, "unused", **{limit: allowed})
        with pytest.raises(SourceRefused, match=f"KENNEL_{limit.upper()}={allowed}"):
            locate(source, few.settings, LineProgress)
    assert bucket.reads() == []


def test_folders_below_a_prefix_count_as_objects_do(bucket: Bucket) -> None:
    place = place_of(bucket.put({f"{n}/": b"" for n in range(4)}))
    few = Workplace(bucket.calls.url, bucket.place.settings.home, "unused", max_archive_files=3)
    with pytest.raises(SourceRefused, match="more than KENNEL_MAX_ARCHIVE_FILES=3 files and folders"):
        list_prefix(few.aws, place)


def test_names_that_no_file_may_have_are_read_or_refused(bucket: Bucket) -> None:
    odd = {"a//b.jpg": b"1", "a": b"2", "a/b": b"3", f"{'x' * 300}.jpg": b"4", "%2F 🐕.jpg": b"5", "../evil.jpg": b"6"}
    remote = list_prefix(bucket.place.aws, place_of(bucket.put(odd)))
    wanted = [index for index, entry in enumerate(remote.listing.entries) if entry.refusal is None]
    fetch_objects(bucket.place.aws, remote, wanted, LineProgress)
    with Reader(remote.listing.root, remote.listing.kind) as reader:
        found = {entry.name: reader.read(entry) for entry in remote.listing.entries if entry.refusal is None}
    assert found == {name: data for name, data in odd.items() if not name.startswith("..")}


def test_an_object_that_changes_between_listing_and_reading_is_refused(bucket: Bucket) -> None:
    source = bucket.put(FILES)
    remote = list_prefix(bucket.place.aws, place_of(source))
    bucket.put({"train/cat/0.jpg": b"another"})
    with pytest.raises(SourceRefused, match="changed or deleted while the prefix was read"):
        fetch_objects(bucket.place.aws, remote, range(len(remote.objects)), LineProgress)


def test_objects_in_glacier_are_refused_by_name(bucket: Bucket) -> None:
    bucket.put(FILES)
    bucket.s3.put_object(Bucket=bucket.name, Key="dogs/train/cat/cold.jpg", Body=b"x", StorageClass="DEEP_ARCHIVE")
    remote = list_prefix(bucket.place.aws, place_of(f"s3://{bucket.name}/dogs/"))
    refused = {entry.name: entry.refusal for entry in remote.listing.entries if entry.refusal}
    assert refused == {"train/cat/cold.jpg": "it is in S3 Glacier Deep Archive, from which it has to be restored first"}


RESTORED = {"IsRestoreInProgress": False, "RestoreExpiryDate": datetime(2026, 12, 21, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("status", "is_readable"),
    [(None, False), ({"IsRestoreInProgress": True}, False), ({"IsRestoreInProgress": False}, False), (RESTORED, True)],
)
@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_object_in_glacier_is_read_while_a_restored_copy_of_it_is_there(
    storage_class: str, status: object, is_readable: bool
) -> None:
    found = {"Key": "a.jpg", "StorageClass": storage_class, **({} if status is None else {"RestoreStatus": status})}
    assert (refusal_in_listing(found) is None) == is_readable


def test_a_restored_object_makes_another_dataset_of_the_prefix(bucket: Bucket) -> None:
    place = place_of(bucket.put({}))
    cold = "<StorageClass>GLACIER</StorageClass>"
    restored = "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
    restored += "<RestoreExpiryDate>2026-12-21T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>"
    found = []
    for more in (cold, cold + restored):
        status, body = page("dogs/a.jpg")
        body = body.replace(b"</Contents>", f"{more}</Contents>".encode())
        bucket.calls.faults += [Fault("", instead=(status, body), headers=(("x-amz-request-id", "0"),))]
        found.append(list_prefix(bucket.place.aws, place))
    assert [each.listing.entries[0].refusal is None for each in found] == [False, True]
    assert found[0].digest != found[1].digest


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_in_a_bucket_is_downloaded_once(bucket: Bucket, kind: str) -> None:
    data = zip_of(FILES) if kind == "zip" else tar_of(FILES)
    bucket.put({f"photos.{kind}": data}, prefix="")
    source = f"s3://{bucket.name}/photos.{kind}"
    first, _ = bucket.place.stage(source)
    assert first.source == source and {row["name"] for row in bucket.place.rows(first)} == set(FILES)
    path = locate(source, bucket.place.settings, LineProgress).path
    again, _ = bucket.place.stage(source)
    assert again == first and path.read_bytes() == data
    assert b"Signature" not in b"".join(each.read_bytes() for each in path.parent.iterdir())


def test_an_archive_that_was_replaced_is_downloaded_anew(bucket: Bucket) -> None:
    source = f"s3://{bucket.name}/photos.zip"
    bucket.put({"photos.zip": zip_of(FILES)}, prefix="")
    first = JudgementCache(locate(source, bucket.place.settings, LineProgress), bucket.place.settings).identity
    bucket.put({"photos.zip": zip_of({**FILES, "train/cat/new.jpg": jpeg(500)})}, prefix="")
    assert JudgementCache(locate(source, bucket.place.settings, LineProgress), bucket.place.settings).identity != first


def test_what_is_not_there_is_refused_with_the_command_that_lists_it(bucket: Bucket) -> None:
    bucket.put(FILES)
    with pytest.raises(SourceRefused, match="there is no object below this prefix"):
        locate(f"s3://{bucket.name}/cats/", bucket.place.settings, LineProgress)
    with pytest.raises(NotFound, match="list-objects-v2 --bucket=no-such-bucket"):
        locate("s3://no-such-bucket/cats/", bucket.place.settings, LineProgress)
    with pytest.raises(NotFound, match="HeadObject answered 404"):
        locate(f"s3://{bucket.name}/cats.zip", bucket.place.settings, LineProgress)


def denied(message: str) -> tuple[int, bytes]:
    return 403, f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>".encode()


def test_a_denial_names_the_permission_and_what_it_is_on(bucket: Bucket) -> None:
    source = bucket.put(FILES)
    headers = (("x-amz-request-id", "0"),)
    aws = bucket.place.aws
    remote = list_prefix(aws, place_of(source))
    bucket.calls.faults += [Fault("", instead=denied("no"), headers=headers)]
    with pytest.raises(AccessDenied, match=rf"allow s3:ListBucket on arn:aws:s3:::{bucket.name}: kennel iam operator"):
        list_prefix(aws, place_of(source))
    bucket.calls.faults += [Fault("", instead=denied("no"), headers=headers, times=20)]
    with pytest.raises(AccessDenied, match=rf"allow s3:GetObject on arn:aws:s3:::{bucket.name}/dogs/\*:"):
        fetch_objects(aws, remote, [0], LineProgress)
    bucket.calls.faults[:] = [Fault("", instead=denied("no kms:Decrypt on key 1"), headers=headers, times=20)]
    with pytest.raises(AccessDenied, match="allow kms:Decrypt on the key"):
        fetch_objects(aws, remote, [0], LineProgress)


@pytest.mark.parametrize(
    ("status", "code", "why"),
    [
        (301, "PermanentRedirect", "the bucket is in another region than us-east-1"),
        (403, "InvalidObjectState", "in an archive of S3's, from which it has to be restored first"),
    ],
)
def test_a_bucket_elsewhere_and_an_object_that_sleeps_are_named(
    bucket: Bucket, status: int, code: str, why: str
) -> None:
    remote = list_prefix(bucket.place.aws, place_of(bucket.put(FILES)))
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    headers = (("x-amz-request-id", "0"), ("x-amz-bucket-region", "eu-west-1"))
    bucket.calls.faults += [Fault("", instead=(status, body), headers=headers, times=20)]
    with pytest.raises(SourceRefused, match=why):
        fetch_objects(bucket.place.aws, remote, [0], LineProgress)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("my-bucket", "it is no place in a bucket of S3"),
        ("https://example.org/x.zip", "it is no place in a bucket of S3"),
        ("s3://", "a bucket is named by"),
        ("s3:///dogs/", "a bucket is named by"),
        ("s3://Big_Bucket/dogs/", "a bucket is named by"),
        ("s3://me:pass@bucket/dogs/", "a bucket is named by"),
        ("s3://bucket/dogs?versionId=1", "cannot be given here"),
        ("s3://bucket/a@b/", "cannot be given here"),
    ],
)
def test_what_names_no_bucket_is_refused_without_a_call(source: str, why: str) -> None:
    with pytest.raises(SourceRefused, match=why) as refused:
        place_of(source)
    assert "pass" not in str(refused.value)


def test_places_are_prefixes_or_archives() -> None:
    places = [place_of(f"s3://bucket{end}") for end in ("", "/", "/a", "/a/", "/a.zip", "/a.zip/", "/a.tar.ZST")]
    assert [(place.key, place.is_archive) for place in places] == [
        ("", False),
        ("", False),
        ("a/", False),
        ("a/", False),
        ("a.zip", True),
        ("a.zip/", False),
        ("a.tar.ZST", True),
    ]
