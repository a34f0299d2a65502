"""Tests of staging against localaws: every image is uploaded, bad data creates nothing, nothing is sent twice."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard

from tasks.account.bucket import ensure_bucket, tls_only_policy
from tasks.data.report import dataset_json, finding_lines, finding_rows, staging_markdown
from tasks.data.staging import locate
from tasks.ec2.job import instance_specs
from tasks.run.aws import Aws
from tasks.run.errors import DataRefused, MalformedAnswer, OwnershipRefused, SourceRefused
from tasks.run.handle import Run
from tasks.run.progress import LineProgress
from tasks.run.records import SPLITS, DatasetRef, Quarantined
from tasks.run.settings import Settings
from tests.tasks.data.datasets import encoded, good_files, jpeg, picture, tar_of, write_folder, write_zip, zip_of
from tests.tasks.data.workplace import Workplace, bucket_exists

CAT = "photos/train/cat/0.jpg"


@pytest.mark.parametrize("kind", ["zip", "deflated zip", "folder", "tar.zst", "zips in a zip"])
def test_every_image_arrives_with_its_name_and_both_digests(place: Workplace, tmp_path: Path, kind: str) -> None:
    files = good_files(train=12)
    files["photos/train/cat/large.png"] = encoded(picture(98, 600, 300), "PNG")
    files["photos/train/cat/new\nline 🐕 %2F..jpg"] = jpeg(99)
    if kind == "folder":
        source = write_folder(tmp_path / "data", files)
    elif kind == "tar.zst":
        source = tmp_path / "data"
        source.write_bytes(zstandard.ZstdCompressor().compress(tar_of(files)))
    elif kind == "zips in a zip":
        source = write_zip(tmp_path / "data.zip", {"photos.zip": zip_of(files)})
    else:
        source = write_zip(tmp_path / "data.zip", files, deflate=kind.startswith("deflated"))
    dataset, _ = place.stage(source)
    members, rows = place.members(dataset), place.rows(dataset)
    assert dataset.images() == len(members) == len(rows) == len(files)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert {row["name"]: row["source_sha256"] for row in rows} == digests
    staged = {row["name"]: members[row["shard"], row["member"]] for row in rows}
    assert all(hashlib.sha256(staged[row["name"]]).hexdigest() == row["sha256"] for row in rows)
    assert all(min(row["width"], row["height"]) <= 256 for row in rows)


def test_each_shard_has_its_part_of_every_class(place: Workplace, tmp_path: Path) -> None:
    dataset, _ = place.stage(write_zip(tmp_path / "data.zip", good_files(train=16)))
    parts = Counter((row["shard"], row["class"]) for row in place.rows(dataset) if row["split"] == "train")
    assert dataset.shards == {"train": 8, "validation": 2, "test": 2}
    assert parts == {(f"train/shard-{n:05d}.tar", name): 2 for n in range(8) for name in ("cat", "dog")}


def test_unchanged_data_sends_nothing_and_decodes_nothing(place: Workplace, tmp_path: Path) -> None:
    source = write_zip(tmp_path / "data.zip", good_files())
    first, _ = place.stage(source)
    place.calls.clear()
    again, sent = place.stage(source)
    assert (again, sent.sent, place.changes) == (first, 0, 0)
    assert not list((place.settings.home / "staging").iterdir())


def test_a_copy_of_the_same_data_is_the_same_dataset_also_as_a_folder(place: Workplace, tmp_path: Path) -> None:
    files = good_files(root="")
    first, _ = place.stage(write_zip(tmp_path / "a.zip", files))
    place.calls.clear()
    again, _ = place.stage(write_folder(tmp_path / "other", dict(reversed(files.items()))))
    assert (again.digest, place.changes) == (first.digest, 0)


def test_one_changed_image_is_another_dataset(place: Workplace, tmp_path: Path) -> None:
    files = good_files()
    first, _ = place.stage(write_zip(tmp_path / "a.zip", files))
    second, _ = place.stage(write_zip(tmp_path / "a.zip", {**files, "photos/train/cat/0.jpg": jpeg(500)}))
    assert first.digest != second.digest


def test_a_missing_shard_is_sent_again_and_the_others_are_not(place: Workplace, tmp_path: Path) -> None:
    source = write_zip(tmp_path / "data.zip", good_files(train=8))
    dataset, _ = place.stage(source)
    place.s3.delete_object(Bucket=place.aws.bucket, Key=f"{dataset.prefix}/train/shard-00003.tar")
    _, sent = place.stage(source)
    assert (sent.sent, sent.already_there) == (1, sum(dataset.shards.values()))
    assert len(place.members(dataset)) == dataset.images()


@pytest.mark.parametrize("damaged", ["train/shard-00001.tar", "manifest.json"])
def test_an_object_that_was_damaged_at_rest_is_replaced(place: Workplace, tmp_path: Path, damaged: str) -> None:
    source = write_zip(tmp_path / "data.zip", good_files(train=8))
    dataset, _ = place.stage(source)
    key = f"{dataset.prefix}/{damaged}"
    flipped = bytes([place.body(key)[0] ^ 1]) + place.body(key)[1:]
    place.s3.put_object(Bucket=place.aws.bucket, Key=key, Body=flipped)
    assert place.stage(source)[0] == dataset
    assert len(place.members(dataset)) == dataset.images()


@pytest.mark.parametrize("more", [{}, {"splits": []}, {"splits": {"train": [1], "validation": [], "test": []}}])
def test_a_manifest_that_lacks_something_is_staged_anew_and_no_instance_trains_by_it(
    place: Workplace, tmp_path: Path, more: dict[str, Any]
) -> None:
    source = write_zip(tmp_path / "data.zip", good_files(train=8))
    dataset, _ = place.stage(source)
    text = json.dumps({"format": 1, "digest": dataset.digest, **more})
    place.s3.put_object(Bucket=place.aws.bucket, Key=f"{dataset.prefix}/manifest.json", Body=text.encode())
    job: Any = SimpleNamespace(dataset=dataset, weights=None)
    with pytest.raises(MalformedAnswer, match="is not the manifest that was staged"):
        instance_specs(place.aws, job, ["10.0.0.1"])
    assert place.stage(source)[0] == dataset
    assert len(place.members(dataset)) == dataset.images()


def bad_data(files: dict[str, bytes]) -> Mapping[str, tuple[dict[str, bytes], str]]:
    return {
        "leak": (
            {**files, **{f"photos/test/cat/copy{n}.jpg": files[f"photos/train/cat/{n}.jpg"] for n in range(3)}},
            r"no usable photo of the class cat in train; 3 photos of train are also in validation or test \(3 the same",
        ),
        "one class": ({name: data for name, data in files.items() if "/cat/" in name}, "1 class found"),
        "empty class": ({**files, "photos/train/wolf/": b""}, "no usable photo of the class wolf in train"),
        "broken": ({**files, "photos/train/cat/0.jpg": b"text"}, "1 of 10 files cannot be used"),
        "broken split": ({**files, "photos/valid/cat/0.jpg": b""}, "no usable photo of the class cat in validation"),
        "unknown folder": ({**files, "photos/tset/cat/9.jpg": jpeg(70)}, "unknown folder tset"),
    }


@pytest.mark.parametrize("fault", list(bad_data(good_files())))
def test_unfit_data_is_refused_before_any_call_that_creates(place: Workplace, tmp_path: Path, fault: str) -> None:
    files, reason = bad_data(good_files())[fault]
    with pytest.raises(DataRefused, match=reason):
        place.stage(write_zip(tmp_path / "bad.zip", files))
    assert place.calls == {}
    assert not bucket_exists(place)


def test_broken_images_below_the_threshold_are_left_out_and_listed_with_reasons(
    place: Workplace, tmp_path: Path
) -> None:
    files = good_files(train=30)
    files["photos/train/cat/a.jpg"] = b""
    files["photos/train/dog/b.jpg"] = b"some text"
    dataset, _ = place.stage(write_zip(tmp_path / "data.zip", files))
    manifest = json.loads(place.body(f"{dataset.prefix}/manifest.json"))
    assert (dataset.quarantined, dataset.images()) == (2, 64)
    assert [(item["name"], item["reason"][:14]) for item in manifest["quarantined"]] == [
        ("photos/train/cat/a.jpg", "it is empty (0"),
        ("photos/train/dog/b.jpg", "it is not an i"),
    ]


def findings(dataset: DatasetRef) -> tuple[int, list[str], tuple[str, ...]]:
    """Return the count of files that are left out, the first words of their reasons, and the warnings."""
    return dataset.quarantined, [item.reason[:11] for item in dataset.left_out], dataset.warnings


def test_what_was_found_in_a_source_is_told_also_when_the_same_images_were_staged_before(
    place: Workplace, tmp_path: Path
) -> None:
    good = {**good_files(train=30), "photos/train/Dog/0.jpg": jpeg(900), "photos/valid/Dog/0.jpg": jpeg(901)}
    good |= {"photos/test/Dog/0.jpg": jpeg(902), "photos/train/dog/copy.jpg": good_files(train=30)[CAT]}
    warnings = (
        "classes Dog, dog look alike (case, Unicode form, blanks): photos/train/Dog/0.jpg, photos/train/dog/0.jpg",
        f"1 photo is in two classes: 1 in cat and dog ({CAT} = dog/copy.jpg)",
        "the classes are unbalanced: the train split has 31 of dog and 1 of Dog",
    )
    clean = place.stage(write_zip(tmp_path / "clean.zip", good))[0]
    mixed = write_zip(tmp_path / "mixed.zip", {**good, "photos/train/cat/a.jpg": b"", "photos/train/b.jpg": b"text"})
    first, sent = place.stage(mixed)
    again, copy = place.stage(mixed)[0], place.stage(shutil.copy(mixed, tmp_path / "copy.zip"))[0]
    assert (sent.sent, clean.digest, findings(clean)) == (0, first.digest, (0, [], warnings))
    for dataset in (first, again, copy):
        assert findings(dataset) == (2, ["it is not i", "it is empty"], warnings)
    assert findings(place.stage(tmp_path / "clean.zip")[0]) == findings(clean)
    assert finding_lines(first)[-1] == (
        "WARNING: data: 2 files are left out: photos/train/b.jpg: it is not in the folder of a class; "
        "photos/train/cat/a.jpg: it is empty (0 bytes)"
    )
    shown = "".join([*finding_rows(first).values(), staging_markdown(first, ""), json.dumps(dataset_json(first))])
    assert all(shown.count(text.split(":")[0]) == 3 for text in (*warnings, "photos/train/b.jpg"))


def test_a_judgement_of_a_release_that_did_not_keep_the_findings_is_made_again(
    place: Workplace, tmp_path: Path
) -> None:
    source = write_zip(tmp_path / "data.zip", {**good_files(train=30), "photos/train/cat/a.jpg": b""})
    first, _ = place.stage(source)
    for path in (place.settings.home / "judged").iterdir():
        path.write_text(json.dumps({"digest": first.digest}))
    assert place.stage(source)[0] == first


@pytest.mark.parametrize("name", ["train/caf\udce9/1.jpg", "train/cat/\udcff.jpg"])
def test_a_folder_with_a_name_that_is_not_utf_8(place: Workplace, tmp_path: Path, name: str) -> None:
    """As the name of a class it is refused; as that of a broken file it is told."""
    folder = write_folder(tmp_path / "data", {**good_files(root="", train=30), name: b""})
    if "caf" in name:
        with pytest.raises(SourceRefused, match=r"the name of the class caf\\udce9 is not UTF-8"):
            place.stage(folder)
    else:
        dataset, _ = place.stage(folder)
        place.run.keep(dataset)
        assert place.run.need(DatasetRef).left_out == (Quarantined(r"train/cat/\udcff.jpg", "it is empty (0 bytes)"),)


def test_the_bucket_is_private_encrypted_tls_only_and_tagged(place: Workplace, tmp_path: Path) -> None:
    place.stage(write_zip(tmp_path / "data.zip", good_files()))
    name, s3 = place.aws.bucket, place.s3
    assert set(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values()) == {True}
    rules = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert json.loads(s3.get_bucket_policy(Bucket=name)["Policy"]) == tls_only_policy(f"arn:aws:s3:::{name}")
    assert s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"][0]["AbortIncompleteMultipartUpload"]
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=name)["TagSet"]}
    assert tags == {"kennel:project": "kennel", "kennel:run": "run-1"}


def test_a_bucket_that_the_user_brought_is_refused_when_it_is_not_safe(place: Workplace, tmp_path: Path) -> None:
    place.s3.create_bucket(Bucket=place.aws.bucket)
    place.s3.put_public_access_block(
        Bucket=place.aws.bucket,
        PublicAccessBlockConfiguration=dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False
        ),
    )
    place.calls.clear()
    with pytest.raises(OwnershipRefused, match="kennel does not change a bucket that it did not make"):
        place.stage(write_zip(tmp_path / "data.zip", good_files()))
    assert place.changes == 0


def test_a_bucket_of_another_owner_is_refused(place: Workplace) -> None:
    place.s3.create_bucket(Bucket=place.aws.bucket)
    stranger = Aws(place.settings)
    stranger._caller = dataclasses.replace(place.aws._ask(), account_id="999999999999")
    with pytest.raises(OwnershipRefused, match="S3 denies access to bucket"):
        ensure_bucket(Run(stranger, "run-1"))


def test_a_half_done_multipart_upload_is_aborted(place: Workplace, tmp_path: Path) -> None:
    source = write_zip(tmp_path / "data.zip", good_files())
    dataset, _ = place.stage(source)
    place.s3.delete_object(Bucket=place.aws.bucket, Key=f"{dataset.prefix}/manifest.json")
    place.s3.create_multipart_upload(Bucket=place.aws.bucket, Key=f"{dataset.prefix}/train/shard-00000.tar")
    place.stage(source)
    assert "Uploads" not in place.s3.list_multipart_uploads(Bucket=place.aws.bucket)


CRASHING = """
import sys; from pathlib import Path
from tasks.run.aws import Aws; from tasks.run.handle import Run; from tasks.data.judgement_cache import JudgementCache
from tasks.run.progress import LineProgress
from tasks.run.settings import Settings; from tasks.data import staging
url, home, bucket, source = sys.argv[1:]
settings = Settings(endpoint_url=url, home=Path(home) / "home", runs=Path(home) / "runs", bucket=bucket)
located = staging.locate(source, settings, LineProgress)
staging.judge_and_upload(located, JudgementCache(located, settings), Run(Aws(settings), "run-1"), LineProgress)
"""


@pytest.mark.parametrize("moment", ["bucket:after", "s3-prefix:before", "shard:after", "manifest:before"])
def test_a_kill_at_any_moment_is_finished_by_the_same_command(place: Workplace, tmp_path: Path, moment: str) -> None:
    source = write_zip(tmp_path / "data.zip", good_files(train=8))
    command = [sys.executable, "-c", CRASHING, place.settings.endpoint_url or "", str(tmp_path), place.aws.bucket]
    environment = {**os.environ, "KENNEL_CRASH_AT": moment}
    killed = subprocess.run([*command, str(source)], env=environment, check=False, timeout=60)
    dataset, _ = place.stage(source)
    assert killed.returncode == -signal.SIGKILL
    assert len(place.members(dataset)) == dataset.images() == 20
    assert [row.state for row in place.run.ledger.rows()] == ["created", "created"]
    place.calls.clear()
    assert (place.stage(source)[0], place.changes) == (dataset, 0)


def test_files_that_change_while_they_are_staged_are_staged_as_they_were_hashed(
    place: Workplace, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "data", good_files(root="", train=200))
    place.aws.settings = place.settings.model_copy(update={"max_quarantined_fraction": 1.0})
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.001):
            for number in range(100):
                (folder / f"train/cat/{number}.jpg").write_bytes(jpeg(number + 9000))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        dataset, _ = place.stage(folder)
    finally:
        stop.set()
        writer.join()
    members = place.members(dataset)
    digests = {(row["shard"], row["member"]): row["sha256"] for row in place.rows(dataset)}
    assert {key: hashlib.sha256(data).hexdigest() for key, data in members.items()} == digests


def test_the_sample_is_ten_classes_of_digits_with_disjoint_splits(place: Workplace) -> None:
    dataset, _ = place.stage("sample")
    assert len(dataset.classes) == 10
    assert [dataset.images(split) for split in SPLITS] == [1290, 255, 252]
    assert place.settings.home.joinpath("sample", "digits-1", "train", "digit-0").is_dir()


@pytest.mark.parametrize("name", ["birds.zip", "birds.tar", "birds.tar.zst", "birds.TAR.GZ"])
def test_a_dataset_is_named_without_the_endings_of_its_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert locate(str(tmp_path / name), Settings(home=tmp_path / "home"), LineProgress).name == "birds"
