"""`kennel drift`: plain sentences, the exit code, a notice, and a retraining that is not repeated."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.account.objects import delete_prefix
from tasks.account.role_policies import captured_prefix
from tasks.drift.report import DriftReport
from tasks.model.code import TRAINING_SOURCE, tree_digest
from tasks.retraining.record import Retraining
from tasks.run.options import TrainingOptions
from tasks.run.records import DatasetRef, EndpointRef
from tasks.run.training_choice import TrainingChoice
from tests.counting_proxy import Calls
from tests.kennel.commands.test_schedule import server_variables
from tests.kennel.interface import differences
from tests.kennel.prefect_worker import PrefectServer, worker
from tests.kennel.shell import Finished, Terminal
from tests.polling import wait_until
from tests.tasks.data.workplace import Workplace
from tests.tasks.drift.captured_scene import capture, deploy_model, line, photo
from tests.tasks.run.test_notices import webhook
from training.serve import Predictor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

BUCKET = "kennel-test-drift-command"


@pytest.fixture(scope="module")
def place(terminal: Terminal, calls: Calls) -> Iterator[Workplace]:
    """The folder and the AWS of the terminal, with a bucket of its own."""
    yield (work := Workplace(calls.url, terminal.runs.parent, BUCKET))
    for prefix in ("datasets/", "runs/"):
        delete_prefix(work.aws, BUCKET, prefix)
    work.s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture(scope="module")
def model(place: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return deploy_model(place, tmp_path_factory.mktemp("model"))


def asked(place: Workplace, model: Predictor, *, brightness: float) -> None:
    """Have the endpoint keep 40 photos that it was asked about an hour ago, and no others."""
    generator, moment = np.random.default_rng(2), datetime.now(UTC) - timedelta(hours=1)
    delete_prefix(place.aws, BUCKET, f"{captured_prefix('run-1')}/")
    capture(place, [line(model, photo(generator, brightness=brightness), moment) for _ in range(40)], moment)


def drift(terminal: Terminal, *arguments: str, **more: str) -> Finished:
    return terminal.kennel("drift", "run-1", *arguments, more={"KENNEL_BUCKET": BUCKET, **more})


def test_photos_like_those_of_the_test_split_are_no_drift(
    terminal: Terminal, place: Workplace, model: Predictor
) -> None:
    asked(place, model, brightness=1.0)
    capture(place, [b"x"], datetime.now(UTC) - timedelta(days=3))
    done = drift(terminal)
    assert done.code == 0, done.err
    first, *rest = done.out.splitlines()
    assert first.startswith("40 distinct photos of 40 kept requests")
    assert first.endswith("were compared with 60 photos of the test split of run run-1.")
    assert rest[-2:] == [
        "Objects of kept requests that were deleted because of their age: 1.",
        "No change was found.",
    ]
    assert "if its p is at most 0.0167" in done.out and "with a chance of at most 0.05" in done.out


def test_darker_photos_are_drift_that_is_told_and_the_same_data_is_not_trained_on_again(
    terminal: Terminal, place: Workplace, model: Predictor
) -> None:
    asked(place, model, brightness=0.6)
    options = TrainingChoice.of(TrainingOptions())
    place.run.keep(options)
    seen = (place.run.need(DatasetRef).digest, tree_digest(TRAINING_SOURCE), options.options)
    place.run.keep(Retraining("2026-11-29T00:00:00+00:00", "refused", "worse", "run-2", *seen))
    with webhook() as (hook, received):
        done = drift(terminal, "--retrain", "--json", KENNEL_NOTIFY=f"json://{hook}/hook")

    assert done.code == 12, done.err
    assert differences("drift", done.answer) == []
    assert "photos" in done.answer["changed"]
    assert done.answer["retraining"]["outcome"] == "nothing to do"
    assert "another model needs other data: label photos like the new ones, and add them" in done.err
    kept = place.run.need(DriftReport)
    assert [(body["title"], body["message"]) for _, body in received] == [
        ("kennel: endpoint of run-1: drift", kept.summary)
    ]


def test_a_worker_looks_on_a_schedule_of_its_own(
    terminal: Terminal, place: Workplace, model: Predictor, calls: Calls, tmp_path: Path
) -> None:
    asked(place, model, brightness=1.0)
    options = ("drift", "run-1", "--cron", "30 2 * * *", "--hours", "48", "--retrain", "--no-promote")
    (made,) = scheduled(terminal, *options)
    assert (made["run_id"], made["flow"], len(made["next_times"])) == ("run-1", "drift", 3)
    wanted = {
        "hours": 48,
        "level": 0.05,
        "retrains": True,
        "promotes": False,
        "data": place.run.need(DatasetRef).source,
    }
    assert made["parameters"] == {"run_id": "run-1", **wanted}
    assert scheduled(terminal, "pause", "run-1", "--drift")[0]["is_paused"]
    assert scheduled(terminal, "resume", "run-1", "--drift") == [made]

    terminal = replace(terminal, more={**terminal.more, "KENNEL_BUCKET": BUCKET})
    variables = server_variables(terminal)
    server = PrefectServer(variables["PREFECT_API_URL"], variables["PREFECT_API_AUTH_STRING"], calls)
    with worker(terminal, variables, tmp_path / "log"):
        run = server.begin("drift", "run-1")
        assert wait_until(lambda: server.final_state(run), "the end of the look", seconds=150) == "COMPLETED"
    assert scheduled(terminal, "show", "run-1")[0]["latest"].startswith("Completed ")


def scheduled(terminal: Terminal, *arguments: str) -> list[dict[str, Any]]:
    done = terminal.kennel("schedule", *arguments, "--json")
    assert done.code == 0, done.err
    schedules: list[dict[str, Any]] = done.answer["schedules"]
    return schedules


def test_an_endpoint_that_keeps_nothing_has_no_schedule_of_looks(
    terminal: Terminal, place: Workplace, model: Predictor
) -> None:
    endpoint = place.run.need(EndpointRef)
    place.run.keep(replace(endpoint, capture_days=0))
    done = terminal.kennel("schedule", "drift", "run-1")
    place.run.keep(endpoint)
    assert done.code == 2 and "keeps no requests" in done.err


def test_a_run_that_does_not_exist_and_a_level_that_is_none_are_refused(terminal: Terminal) -> None:
    assert terminal.kennel("drift", "cats").code == 2
    done = drift(terminal, "--level", "0.7")
    assert done.code == 2 and "0.7" in done.err


def test_an_embedded_aws_that_does_not_run_has_kept_nothing(tmp_path: Path) -> None:
    (tmp_path / "runs" / "dogs").mkdir(parents=True)
    (tmp_path / "runs" / "dogs" / "ledger.jsonl").write_text("")
    done = Terminal(tmp_path / "home", tmp_path / "runs").kennel("drift", "dogs")
    assert done.code == 2 and "localaws does not run" in done.err, done.err
