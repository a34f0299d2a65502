"""Staging by jobs of one, two and three hosts gives what staging here gives, and no photo goes over this machine."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tasks.account import objects
from tasks.account.role_policies import role_name, staging_prefix
from tasks.data.judgement_cache import JudgementCache
from tasks.data.upload import dataset_prefix
from tasks.processing.code_package import code_archive
from tasks.processing.remote import locate_remote
from tasks.processing.stage import stage_by_job
from tasks.run.errors import DataRefused, SourceRefused
from tasks.run.options import StagingOptions
from tests.counting_proxy import counting_proxy
from tests.kennel.decided_again import asked_by
from tests.tasks.data.datasets import encoded, good_files, picture, write_zip
from tests.tasks.data.workplace import Workplace
from tests.tasks.processing.photo_buckets import PhotoBucket, stage_remotely

STATEMENTS = ("ReadSource", "WorkInArea", "ListArea", "WriteLogs")
"""Those of the job's role that localaws decides on; the others are for pulling the image and the shared log group."""
SERVICES = ("s3", "iam", "logs", "sagemaker")


def photos_without_splits() -> dict[str, bytes]:
    """Return large photos of two classes, of which some are the same, nearly the same, or none."""
    seeds = {f"{name}/{n}.jpg": n + len(name) * 50 for name in ("cat", "horse") for n in range(10)}
    files = {name: encoded(picture(seed, 900, 700), quality=98) for name, seed in seeds.items()}
    alike = encoded(picture(seeds["cat/3.jpg"], 450, 350), quality=85)
    return {**files, "cat/twin.jpg": alike, "horse/copy.jpg": files["horse/0.jpg"], "cat/broken.jpg": b"no photo"}


def manifest_of(place: Workplace, digest: str) -> dict[str, Any]:
    found = json.loads(place.body(f"{dataset_prefix(digest)}/manifest.json"))
    return {name: value for name, value in found.items() if name != "checksum"}


@contextmanager
def traffic_of(place: Workplace) -> Iterator[list[int]]:
    """Count the bytes of all requests and answers of a workplace's clients."""
    sizes: list[int] = []

    def sent(request: Any, **_: Any) -> None:
        body = request.body
        sizes.append(len(body) if isinstance(body, (bytes, str)) else int(request.headers.get("Content-Length") or 0))

    def heard(http_response: Any, **_: Any) -> None:
        sizes.append(int(http_response.headers.get("Content-Length") or 0))

    events = [place.aws.client(service).meta.events for service in SERVICES]
    for each in events:
        each.register("before-send", sent)
        each.register("after-call", heard)
    yield sizes


def test_one_two_and_three_hosts_stage_the_same_dataset_as_this_machine(photos: PhotoBucket) -> None:
    files = photos_without_splits()
    source = photos.put(files)
    here = photos.place(max_quarantined_fraction=0.2)
    dataset, _ = here.stage(source)
    wanted = manifest_of(here, dataset.digest)
    assert dataset.images("test") >= 2 and dataset.quarantined >= 1

    for instances in (1, 2, 3):
        with counting_proxy(photos.localaws.url) as calls:
            place = photos.place(calls.url, max_quarantined_fraction=0.2)
            with traffic_of(place) as sizes:
                outcome = stage_remotely(place, source, instances)
            assert outcome.dataset == replace(dataset, bucket=place.aws.bucket), instances
            assert_no_photo_went_over_this_machine(calls.seen, sum(sizes), files, wanted)
            assert manifest_of(place, dataset.digest) == wanted
            assert place.rows(outcome.dataset) == here.rows(dataset)


def assert_no_photo_went_over_this_machine(
    seen: Sequence[str], moved_bytes: int, files: Mapping[str, bytes], manifest: Mapping[str, Any]
) -> None:
    """Check what was asked for, and that the bytes of all calls are the code and a multiple of the manifest's."""
    touched = {each.partition("?")[0] for each in seen}
    assert not [each for each in touched if each.endswith((".jpg", ".spool")) or "/dogs/" in each]
    assert {each.partition(" ")[0] for each in touched if each.endswith(".tar")} == {"PUT"}, "S3 copies the shards"
    most = len(code_archive()) + 100 * len(json.dumps(manifest))  # the job is also looked at while it runs
    assert moved_bytes < most < sum(map(len, files.values()))


def test_an_archive_is_staged_by_two_hosts_and_a_manifest_that_is_lost_is_written_again(photos: PhotoBucket) -> None:
    archive = write_zip(photos.folder / "dogs.zip", good_files())
    photos.s3.upload_file(str(archive), photos.name, "dogs.zip")
    here, place = photos.place(), photos.place()
    dataset, _ = here.stage(archive)

    outcome = stage_remotely(place, f"s3://{photos.name}/dogs.zip", 2)

    assert (outcome.dataset.digest, outcome.dataset.name) == (dataset.digest, dataset.name)
    rows = {(row.kind, row.state) for row in place.run.ledger.rows()}
    assert rows == {(kind, "created") for kind in ("bucket", "role", "s3-prefix", "processing-job")}
    needed = asked_by(photos.localaws, role_name(place.run.id, "staging")).needed_for()
    assert {sid for sid, denied in needed.items() if denied} >= {*STATEMENTS}
    left = objects.list_objects(place.aws, place.aws.bucket, f"{staging_prefix(place.run.id)}/")
    assert left and not [key for key in left if key.endswith(".spool")]
    place.s3.delete_object(Bucket=place.aws.bucket, Key=f"{outcome.dataset.prefix}/manifest.json")
    again = stage_remotely(place, f"s3://{photos.name}/dogs.zip", 2)
    assert again.dataset == outcome.dataset
    jobs = place.aws.client("sagemaker").list_processing_jobs(NameContains=place.run.id)["ProcessingJobSummaries"]
    assert len(jobs) == 1, "the first job's shards are used"


def test_unfit_data_is_refused_with_the_same_words_and_no_dataset_is_made(photos: PhotoBucket) -> None:
    source = photos.put({name: data for name, data in good_files(root="").items() if "test/dog" not in name})
    place = photos.place()
    with pytest.raises(DataRefused) as here:
        photos.place().stage(source)

    with pytest.raises(DataRefused) as refused:
        stage_remotely(place, source)

    assert (refused.value.what, refused.value.why) == (here.value.what, here.value.why)
    assert objects.list_objects(place.aws, place.aws.bucket, "datasets/") == {}


def test_what_a_host_refuses_is_refused_here(photos: PhotoBucket) -> None:
    source = photos.put(good_files(root=""))
    place = photos.place()
    located = locate_remote(source, place.aws)
    photos.put({"train/cat/0.jpg": b"another one"})

    with pytest.raises(SourceRefused, match="changed or deleted while the prefix was read"):
        stage_by_job(located, JudgementCache(located, place.settings), place.run, StagingOptions(stage_on="sagemaker"))


def test_what_is_not_in_s3_is_refused_with_a_way_to_bring_it_there(photos: PhotoBucket) -> None:
    with pytest.raises(SourceRefused, match="aws s3 cp"):
        locate_remote(str(photos.folder), photos.place().aws)


def test_an_archive_that_is_replaced_while_the_job_waits_is_refused_under_its_address(photos: PhotoBucket) -> None:
    archive = write_zip(photos.folder / "dogs.zip", good_files())
    photos.s3.upload_file(str(archive), photos.name, "dogs.zip")
    place, source = photos.place(), f"s3://{photos.name}/dogs.zip"
    located = locate_remote(source, place.aws)
    archive = write_zip(photos.folder / "others.zip", dict(list(good_files().items())[1:]))
    photos.s3.upload_file(str(archive), photos.name, "dogs.zip")

    with pytest.raises(SourceRefused, match="changed or deleted while it waited") as refused:
        stage_by_job(located, JudgementCache(located, place.settings), place.run, StagingOptions(stage_on="sagemaker"))
    assert refused.value.what == source


def test_what_is_no_archive_is_refused_under_its_address_and_not_a_path_of_the_host(photos: PhotoBucket) -> None:
    photos.s3.put_object(Bucket=photos.name, Key="dogs.zip", Body=b"no archive")
    place, source = photos.place(), f"s3://{photos.name}/dogs.zip"

    with pytest.raises(SourceRefused) as refused:
        stage_remotely(place, source)
    assert source in str(refused.value) and "home/source" not in str(refused.value)
