"""What an endpoint keeps of requests gets a rule by which S3 deletes it, in a bucket that kennel made."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.account.bucket import ensure_bucket
from tasks.account.lifecycle import captured_rule, rules_of
from tasks.run.handle import Run
from tasks.serving.deployment import expire_captured
from tasks.serving.endpoint_plan import Capture
from tests.counting_proxy import Calls
from tests.tasks.data.workplace import Workplace
from tests.tasks.serving.test_endpoint import PLAN

OWN, FOREIGN = "kennel-test-kept", "kennel-test-theirs"


def expire(run: Run, bucket: str, days: int) -> None:
    kept = Capture(100, f"s3://{bucket}/runs/run-1/captured", None, days)
    expire_captured(run, replace(PLAN, model_uri=f"s3://{bucket}/runs/run-1/model.tar.gz", capture=kept))


def test_the_rule_has_the_days_of_the_latest_deployment(calls: Calls, tmp_path: Path) -> None:
    place = Workplace(calls.url, tmp_path, OWN)
    ensure_bucket(place.run)
    for days in (30, 7):
        expire(place.run, OWN, days)
    expire_captured(place.run, replace(PLAN, capture=None))

    assert captured_rule("run-1", 7) in rules_of(place.aws, OWN)
    assert len(rules_of(place.aws, OWN)) == 2
    place.s3.delete_bucket(Bucket=OWN)


def test_a_bucket_of_the_user_is_left_as_it_is_and_that_is_said(
    calls: Calls, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = Workplace(calls.url, tmp_path, FOREIGN)
    place.s3.create_bucket(Bucket=FOREIGN)
    with caplog.at_level(logging.INFO, logger="kennel"):
        expire(place.run, FOREIGN, 30)

    assert rules_of(place.aws, FOREIGN) == []
    assert f"{FOREIGN} is your own bucket, so only `kennel drift run-1` deletes kept photos in time" in caplog.text
    place.s3.delete_bucket(Bucket=FOREIGN)
