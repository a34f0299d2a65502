"""Rules of a bucket's lifecycle: ours come and go, those of others stay as they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.account.bucket import ABORT, ensure_bucket
from tasks.account.lifecycle import captured_rule, put_rule, remove_captured_rule, rules_of
from tasks.account.objects import put_object
from tasks.run.handle import Run
from tasks.teardown.storage import STORAGE_KINDS
from tests.counting_proxy import Calls
from tests.tasks.data.workplace import Workplace

BUCKET = "kennel-test-lifecycle"
THEIRS: dict[str, Any] = {
    "ID": "theirs",
    "Status": "Enabled",
    "Filter": {"And": {"Prefix": "logs/", "Tags": [{"Key": "k", "Value": "v"}]}},
    "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}],
}


@pytest.fixture
def place(calls: Calls, tmp_path: Path) -> Iterator[Workplace]:
    work = Workplace(calls.url, tmp_path, BUCKET)
    ensure_bucket(work.run)
    yield work
    STORAGE_KINDS["s3-prefix"].remove(work.aws, f"{BUCKET}/runs")
    work.s3.delete_bucket(Bucket=BUCKET)


def identifiers(place: Workplace) -> list[str]:
    return [rule["ID"] for rule in rules_of(place.aws, BUCKET)]


def add_theirs(place: Workplace) -> None:
    rules = {"Rules": [*rules_of(place.aws, BUCKET), THEIRS]}
    place.s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=rules)


def test_a_rule_is_added_changed_and_removed_beside_those_of_others(place: Workplace) -> None:
    add_theirs(place)
    for days in (7, 30):
        put_rule(place.aws, BUCKET, captured_rule("run-1", days))
    put_rule(place.aws, BUCKET, captured_rule("run-2", 1))

    found = {rule["ID"]: rule for rule in rules_of(place.aws, BUCKET)}
    assert list(found) == [ABORT["ID"], "theirs", "kennel-captured-run-1", "kennel-captured-run-2"]
    assert found["theirs"] == THEIRS
    assert found["kennel-captured-run-1"] == captured_rule("run-1", 30)
    assert captured_rule("run-1", 30)["Filter"] == {"Prefix": "runs/run-1/captured/"}
    remove_captured_rule(place.aws, BUCKET, "run-1")
    assert identifiers(place) == [ABORT["ID"], "theirs", "kennel-captured-run-2"]


def test_what_is_there_already_is_not_written_again(place: Workplace, calls: Calls) -> None:
    put_rule(place.aws, BUCKET, captured_rule("run-1", 7))
    calls.seen.clear()
    put_rule(place.aws, BUCKET, captured_rule("run-1", 7))
    remove_captured_rule(place.aws, BUCKET, "run-2")
    ensure_bucket(place.run)
    assert calls.mutating() == []


def test_the_last_rule_is_removed_and_a_bucket_that_is_gone_has_none(place: Workplace) -> None:
    place.s3.delete_bucket_lifecycle(Bucket=BUCKET)
    put_rule(place.aws, BUCKET, captured_rule("run-1", 7))
    remove_captured_rule(place.aws, BUCKET, "run-1")
    assert rules_of(place.aws, BUCKET) == []
    remove_captured_rule(place.aws, "kennel-test-no-such-bucket", "run-1")


def test_a_bucket_without_our_rule_gets_it_and_keeps_the_others(place: Workplace) -> None:
    place.s3.delete_bucket_lifecycle(Bucket=BUCKET)
    add_theirs(place)
    ensure_bucket(Run(place.aws, "run-1"))
    assert identifiers(place) == ["theirs", ABORT["ID"]]


def test_the_removal_of_a_runs_prefix_removes_its_rule(place: Workplace) -> None:
    for run_id in ("run-1", "run-2"):
        put_object(place.aws, BUCKET, f"runs/{run_id}/captured/x", b"x", content_type="text/plain")
        put_rule(place.aws, BUCKET, captured_rule(run_id, 7))
    STORAGE_KINDS["s3-prefix"].remove(place.aws, f"{BUCKET}/runs/run-1")
    assert identifiers(place) == [ABORT["ID"], "kennel-captured-run-2"]
