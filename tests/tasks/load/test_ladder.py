"""Tests the ladder with real runs of the generator: a fast target, a slow target, and a generator that is too slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.load.ladder import LadderRun
from tasks.load.rungs import LadderRules, Slo
from tasks.run.errors import Inconclusive, StageFailed
from tasks.run.records import EndpointRef
from tasks.run.settings import Settings
from tests.loadtest.conftest import InvokeServer


def ladder_run(server: InvokeServer, image: Path, run_dir: Path, name: str, rules: LadderRules) -> LadderRun:
    endpoint = EndpointRef(name, "arn", "c", "m", "AllTraffic", "ml.m5.large", 1, "s3://b/k", 1.0)
    settings = Settings.load(endpoint_url=server.url, region="us-east-1")
    return LadderRun(settings, run_dir, endpoint, [image], slo=Slo(500, 0.01), rules=rules)


def test_a_target_that_keeps_every_rate_is_not_asked_for_more_than_the_most(
    server: InvokeServer, image: Path, tmp_path: Path
) -> None:
    rules = LadderRules(first_rps=150, factor=2, most_rps=300, least_seconds=1.0)
    ladder = ladder_run(server, image, tmp_path, "steady", rules).climb()
    valid = [(rung.rps, rung.verdict) for rung in ladder.rungs if rung.verdict != "void"]  # a void rung is run again
    assert valid == [(150, "kept"), (300, "kept")]
    assert ladder.best is not None and 250 < ladder.best.sustained_rps <= 300
    assert sum(server.counts().values()) >= sum(rung.requests for rung in ladder.rungs)
    assert all(Path(rung.file).is_file() for rung in ladder.rungs)


def test_a_target_that_fails_at_every_rate_has_no_max_rps(server: InvokeServer, image: Path, tmp_path: Path) -> None:
    rules = LadderRules(first_rps=200, least_rps=150, least_seconds=1.0)
    with pytest.raises(StageFailed, match=r"no MAX_RPS of throttles was found\n  why:  not even 200/s kept the SLO"):
        ladder_run(server, image, tmp_path, "throttles", rules).climb()


def test_a_saturated_generator_is_void_and_never_becomes_max_rps(
    server: InvokeServer, image: Path, tmp_path: Path
) -> None:
    rules = LadderRules(first_rps=100_000, least_seconds=0.5)  # no processor sends as many
    with pytest.raises(Inconclusive, match=r"the run at 1e\+05/s was void twice: the generator achieved .* under 99 %"):
        ladder_run(server, image, tmp_path, "steady", rules).climb()
