"""Drift of a run with a staged dataset and a served model, from objects as data capture writes them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tasks.account.objects import delete_prefix, list_objects, put_object
from tasks.account.role_policies import captured_prefix
from tasks.drift.captured import delete_captured, photo_of, read_captured
from tasks.drift.look import look_for_drift
from tasks.drift.report import DriftReport, drift_markdown
from tasks.run.errors import SettingsRefused, StageFailed
from tasks.run.records import EndpointRef
from tests.conftest import RunningLocalAws
from tests.tasks.data.workplace import Workplace
from tests.tasks.drift.captured_scene import CLASSES, capture, deploy_model, line, photo
from training.serve import Predictor

NOW = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def place(localaws: RunningLocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    yield (work := Workplace(localaws.url, tmp_path_factory.mktemp("place"), "kennel-test-drift"))
    for prefix in ("datasets/", "runs/"):
        delete_prefix(work.aws, work.aws.bucket, prefix)
    work.s3.delete_bucket(Bucket=work.aws.bucket)


@pytest.fixture(scope="module")
def model(place: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return deploy_model(place, tmp_path_factory.mktemp("model"))


@pytest.fixture
def empty(place: Workplace) -> Workplace:
    """The place, without captured objects."""
    delete_prefix(place.aws, place.aws.bucket, f"{captured_prefix('run-1')}/")
    return place


def _look(place: Workplace) -> DriftReport:
    return look_for_drift(place.run, place.run, since=NOW - timedelta(hours=24), until=NOW, level=0.05)


def test_photos_like_those_of_the_test_split_are_no_change_and_darker_ones_are(
    empty: Workplace, model: Predictor
) -> None:
    generator, moment = np.random.default_rng(2), NOW - timedelta(hours=1)
    like = [photo(generator) for _ in range(40)]
    capture(empty, [line(model, photo, moment) for photo in (*like, *like)], moment)
    unchanged = _look(empty)
    delete_prefix(empty.aws, empty.aws.bucket, f"{captured_prefix('run-1')}/")
    capture(empty, [line(model, photo(generator, brightness=0.6), moment) for _ in range(40)], moment)
    darker = _look(empty)

    assert (unchanged.requests, unchanged.photos, unchanged.reference_photos, unchanged.unusable) == (80, 40, 60, 0)
    assert unchanged.changed == ()
    assert "photos" in darker.changed
    assert sum(each.observed for each in darker.classes) == pytest.approx(1)
    assert darker.verdict.startswith("There is drift: the photos") and darker.verdict in drift_markdown(darker)
    assert (unchanged.verdict, unchanged.model_of) == ("No change was found.", "run-1")
    empty.run.keep(darker)
    assert empty.run.find(DriftReport) == darker


def test_only_the_window_is_read_and_lines_that_are_no_answers_are_counted(
    empty: Workplace, model: Predictor, tmp_path: Path
) -> None:
    generator, since = np.random.default_rng(3), NOW - timedelta(hours=2)
    good, late, early = (line(model, photo(generator), moment) for moment in (since, NOW, since - timedelta(seconds=1)))
    record = json.loads(good)
    record["captureData"]["endpointOutput"]["data"] = '{"labels": ["cat"], "scores": [1]}'
    bad = [b"no JSON\n", b"[]\n", json.dumps(record).encode() + b"\n", b"[" * 100_000 + b"\n"]
    capture(empty, [early, good, *bad], since)
    capture(empty, [late], NOW)
    capture(empty, [good], NOW - timedelta(days=3))
    put_object(
        empty.aws, empty.aws.bucket, f"{captured_prefix('run-1')}/e/primary/note.jsonl", b"x", content_type="text/plain"
    )
    prefix = f"{captured_prefix('run-1')}/e/primary"
    found = read_captured(empty.aws, empty.aws.bucket, prefix, CLASSES, tmp_path, since=since, until=NOW)

    assert (found.requests, len(found.photos), found.unusable) == (1, 1, 4)
    assert (tmp_path / found.photos[0].sha256).read_bytes() == photo_of(good, CLASSES)[1]
    assert found.photos[0].answered == since


def test_too_few_photos_and_an_endpoint_that_keeps_none_are_said(empty: Workplace, model: Predictor) -> None:
    with pytest.raises(StageFailed, match="since 2026-11-28 12:30 UTC only 0 distinct photos were kept; needed are 30"):
        _look(empty)
    endpoint = empty.run.need(EndpointRef)
    empty.run.keep(replace(endpoint, capture_days=0))
    with pytest.raises(SettingsRefused, match="endpoint e keeps no requests") as refused:
        _look(empty)
    empty.run.keep(endpoint)
    assert "--capture 1" in str(refused.value)


def test_what_was_kept_long_enough_is_deleted_by_the_hour(empty: Workplace) -> None:
    old = capture(empty, [b"x"], NOW - timedelta(days=2, hours=1))
    kept = [capture(empty, [b"x"], NOW - timedelta(days=2)), capture(empty, [b"x"], NOW)]
    before = NOW - timedelta(days=2)

    assert delete_captured(empty.aws, empty.aws.bucket, "run-1", before=before) == 1
    assert sorted(list_objects(empty.aws, empty.aws.bucket, f"{captured_prefix('run-1')}/")) == kept
    assert old not in kept
