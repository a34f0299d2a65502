"""The share that agrees is judged by distinct photos, against what is asked and what the gate has measured."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from localaws.sagemaker.endpoints.capture import Invocation, Message, line_of
from localaws.sagemaker.endpoints.plan import CapturePlan
from tasks.account.bucket import ensure_bucket
from tasks.account.objects import put_object
from tasks.gate.gate import GateRecord
from tasks.promotion.agreement import judge, least_agreement
from tasks.promotion.copies import Copies
from tasks.promotion.promote import now_text
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.records import TrainedModel
from tasks.run.settings import Settings
from tasks.serving.endpoint_plan import SHADOW, VARIANT
from tasks.serving.releases import Release
from tests.conftest import RunningLocalAws
from tests.tasks.run.test_records import TRAINED

PLAN = CapturePlan(
    is_enabled=True,
    percentage=100,
    destination="s3://b/captured",
    has_input=True,
    has_output=True,
    json_types=frozenset({"application/json"}),
)
Keep = Callable[[str, Sequence[str]], None]


@pytest.fixture
def run(localaws: RunningLocalAws, tmp_path: Path) -> Run:
    """A run whose own model serves."""
    aws = Aws(Settings(endpoint_url=localaws.url, home=tmp_path, runs=tmp_path / "runs", max_attempts=1))
    run = Run(aws, f"judged-{time.time_ns()}")
    run.keep(replace(TRAINED, model_uri=f"s3://{ensure_bucket(run)}/runs/champion/model.tar.gz"))
    return run


@pytest.fixture
def wanted(run: Run) -> Release:
    return Release("", "", "version 2", "chal", f"s3://{run.aws.bucket}/runs/chal/model.tar.gz", "", "", now_text(), "")


@pytest.fixture
def keep(run: Run) -> Keep:
    """Have what a variant answered be kept: to photo 0 the first label, and so on."""

    def put(variant: str, labels: Sequence[str], name: str = "0") -> None:
        lines = b"".join(_line(number, label) for number, label in enumerate(labels))
        key = f"{run.id}/{variant}/2026/01/01/00/{name}-{time.time_ns()}.jsonl"
        put_object(run.aws, run.aws.bucket, key, lines, content_type="application/jsonl")

    return put


def _line(number: int, label: str) -> bytes:
    answer = f'{{"labels": ["a", "b"], "scores": [{float(label == "a")}, {float(label == "b")}]}}'
    sent, given = Message("image/jpeg", b"photo %d" % number), Message("application/json", answer.encode())
    return b"".join(line_of(Invocation("v", str(number), 0.0, sent, given), PLAN))


def _copies(run: Run) -> Copies:
    copies = Copies(run.aws, run.aws.bucket, run.id)
    copies.read()
    return copies


@pytest.mark.parametrize(
    ("differing", "photos", "outcome"),
    [(0, 60, "agree"), (15, 60, "agree"), (60, 60, "differ"), (45, 60, "differ"), (30, 60, "not shown")],
)
def test_the_interval_of_the_share_decides(
    run: Run, wanted: Release, keep: Keep, differing: int, photos: int, outcome: str
) -> None:
    keep(VARIANT, photos * "a")
    keep(SHADOW, differing * "b" + (photos - differing) * "a")
    found = judge(run, wanted, _copies(run), 0.5)
    assert (found.outcome, found.photos, found.agreed) == (outcome, photos, photos - differing)
    assert found.low < found.agreed / photos + 1e-9 and found.high > found.agreed / photos - 1e-9


def test_many_requests_of_two_photos_are_two_photos(run: Run, wanted: Release, keep: Keep) -> None:
    for _ in range(20):
        keep(VARIANT, "ab")
        keep(SHADOW, "ab")
    found = judge(run, wanted, _copies(run), 0.5)
    assert (found.requests, found.photos, found.agreed, found.outcome) == (40, 2, 2, "not shown")


def test_what_only_one_variant_answered_and_lines_of_no_photo_count_nowhere(run: Run, keep: Keep) -> None:
    keep(VARIANT, "aaaa")
    keep(SHADOW, "ab")
    for number, content in enumerate([b"no JSON\n", b"{}\n", b"[" * 100_000]):
        key = f"{run.id}/{SHADOW}/2026/01/01/00/bad-{number}.jsonl"
        put_object(run.aws, run.aws.bucket, key, content, content_type="application/jsonl")
    copies = _copies(run)
    assert (sorted(copies.same), copies.requests) == ([False, True], 2)
    copies.read()
    assert copies.requests == 2


def test_nothing_at_all_shows_nothing(run: Run, wanted: Release) -> None:
    found = judge(run, wanted, _copies(run), 0.5)
    assert (found.photos, found.low, found.high, found.outcome) == (0, 0.0, 1.0, "not shown")


def test_the_gates_agreement_is_asked_for_where_it_compared_these_models(run: Run, wanted: Release, keep: Keep) -> None:
    keep(VARIANT, 100 * "a")
    keep(SHADOW, 35 * "b" + 65 * "a")
    champion = run.need(TrainedModel).model_uri
    kept = _gate(champion, wanted.model_uri, accuracy=0.95, only_champion=0)
    assert judge(run, wanted, _copies(run), 0.5).outcome == "agree"
    Run(run.aws, wanted.trained_by).keep(replace(kept, champion="s3://b/another"))
    assert judge(run, wanted, _copies(run), 0.5).least == 0.5
    Run(run.aws, wanted.trained_by).keep(kept)
    found = judge(run, wanted, _copies(run), 0.5)
    assert found.outcome == "differ" and found.least == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("accuracy", "only_champion", "asked", "least"),
    [
        (0.95, 0, 0.5, 0.75),  # 95 of 100 photos were right by both: 20 points less
        (0.35, 5, 0.5, 0.15),  # a much better challenger: half of the 30 that both had right
        (0.95, 0, 1.0, 0.95),
        (0.10, 10, 0.5, 0.0),
    ],
)
def test_a_better_model_may_differ_where_the_gate_saw_one_of_both_wrong(
    accuracy: float, only_champion: int, asked: float, least: float
) -> None:
    gate = _gate("c", "r", accuracy=accuracy, only_champion=only_champion)
    assert least_agreement(gate, asked) == pytest.approx(least)
    assert least_agreement(None, asked) == asked


def _gate(champion: str, challenger: str, *, accuracy: float, only_champion: int) -> GateRecord:
    return GateRecord(
        champion=champion,
        challenger=challenger,
        evaluation_set="e",
        photos=100,
        verdict="better",
        only_champion=only_champion,
        only_challenger=5,
        champion_accuracy=accuracy,
        challenger_accuracy=accuracy,
        low=0.0,
        high=0.1,
        p_value=0.01,
        log_loss=0.0,
        power=0.8,
        photos_needed=None,
        rules=(),
        broken=(),
        asked="better",
        may_be_promoted=True,
        champion_ms=1.0,
        challenger_ms=1.0,
    )
