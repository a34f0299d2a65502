"""A whole run on an AWS that does not know for some seconds what was just made: it waits, and makes nothing twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RunningLocalAws
from tests.counting_proxy import counting_proxy
from tests.kennel.shell import Terminal
from tests.keys import for_environment
from tests.late_creations import NAMES, LateCreations

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LATE_SECONDS = 4.0
QUICK = ("--backbone", "efficientnet_lite0", "--epochs", "1", "--views", "1", "--no-loadtest")


@pytest.fixture
def answers(own_localaws: RunningLocalAws) -> Iterator[LateCreations]:
    with counting_proxy(own_localaws.url, LateCreations(LATE_SECONDS)) as answers:
        assert isinstance(answers, LateCreations)
        yield answers


def test_a_run_on_an_aws_that_shows_late_what_was_made_waits_for_it(
    answers: LateCreations, own_localaws: RunningLocalAws, photos: Path, tmp_path: Path
) -> None:
    target = {"AWS_ENDPOINT_URL": answers.url, "AWS_REGION": "us-east-1", **for_environment()}
    terminal = Terminal(tmp_path / "home", tmp_path / "runs", target)
    done = terminal.kennel("run", "--data", str(photos), "--run-id", "late", *QUICK, "--json")
    assert done.code == 0, f"{done.err}\n{done.out}"
    kinds = {told.split()[1] for told in answers.told}
    assert kinds >= {*NAMES, "function"}, answers.told
    sagemaker = own_localaws.client("sagemaker")
    assert len(sagemaker.list_training_jobs()["TrainingJobSummaries"]) == 1
    assert len(sagemaker.list_models()["Models"]) == 1
    terminal.take_down()
