"""A whole run and its teardown, of which the answer to one call of every changing operation is lost.

AWS has carried the call out. The command must see that: nothing is made twice, nothing is left behind.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RunningLocalAws
from tests.counting_proxy import counting_proxy
from tests.kennel.shell import Terminal
from tests.keys import for_environment
from tests.lost_answers import Loss, LostAnswers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

QUICK = ("--backbone", "efficientnet_lite0", "--epochs", "1", "--views", "1", "--no-loadtest")
MADE_BY_A_RUN = {
    *("s3.CreateBucket", "s3.PutObject", "iam.CreateRole", "iam.PutRolePolicy", "logs.CreateLogGroup"),
    *("sagemaker.CreateTrainingJob", "sagemaker.CreateModel", "sagemaker.CreateEndpointConfig"),
    *("sagemaker.CreateEndpoint", "lambda.CreateFunction", "lambda.PublishVersion", "lambda.CreateAlias"),
}
"""Some of the operations that must be among the recorded ones, so that a recording of nothing is noticed."""


@pytest.fixture(scope="module")
def answers(own_localaws: RunningLocalAws) -> Iterator[LostAnswers]:
    answers = LostAnswers()
    with counting_proxy(own_localaws.url, answers):
        yield answers


@pytest.mark.parametrize("loss", ["once", "exhausted"])
def test_a_run_and_its_teardown_survive_a_lost_answer_to_every_changing_operation(
    answers: LostAnswers, own_localaws: RunningLocalAws, photos: Path, tmp_path: Path, loss: Loss
) -> None:
    target = {"AWS_ENDPOINT_URL": answers.url, "AWS_REGION": "us-east-1", **for_environment()}
    terminal = Terminal(tmp_path / "home", tmp_path / "runs", {**target, "KENNEL_MAX_ATTEMPTS": "2"})
    answers.forget(loss)
    done = terminal.kennel("run", "--data", str(photos), "--run-id", loss, *QUICK, "--json")
    assert done.code == 0, f"{done.err}\n{done.out}"
    assert answers.recorded >= MADE_BY_A_RUN
    assert single(own_localaws, loss) == {"jobs": 1, "versions": 1}
    rows = [f"{row['kind']} {row['state']}" for row in live_rows(terminal, loss)]
    assert rows and [row for row in rows if not row.endswith((" created", " adopted"))] == []
    removed = terminal.kennel("down", "--yes", "--json")
    assert removed.code == 0, f"{removed.err}\n{removed.out}"
    assert set(answers.lost) == answers.recorded
    assert live_rows(terminal, loss) == []
    assert left(own_localaws) == []


def single(aws: RunningLocalAws, run_id: str) -> dict[str, int]:
    """Count what a repeated call could have made twice under another name or number."""
    jobs = aws.client("sagemaker").list_training_jobs(NameContains=run_id)["TrainingJobSummaries"]
    name = f"kennel-{run_id}-classify"
    versions = aws.client("lambda").list_versions_by_function(FunctionName=name)["Versions"]
    return {"jobs": len(jobs), "versions": len([each for each in versions if each["Version"] != "$LATEST"])}


def live_rows(terminal: Terminal, run_id: str) -> list[dict[str, str]]:
    runs = terminal.kennel("status", "--json").answer["runs"]
    rows: list[dict[str, str]] = next(run["live"] for run in runs if run["run_id"] == run_id)
    return rows


def left(aws: RunningLocalAws) -> list[str]:
    """Name everything of kennel that exists, asking AWS and not the ledger."""
    client = aws.client
    found = [each["Name"] for each in client("s3").list_buckets()["Buckets"]]
    found += [each["RoleName"] for each in client("iam").list_roles()["Roles"]]
    found += [each["ModelName"] for each in client("sagemaker").list_models()["Models"]]
    found += [each["EndpointConfigName"] for each in client("sagemaker").list_endpoint_configs()["EndpointConfigs"]]
    found += [each["EndpointName"] for each in client("sagemaker").list_endpoints()["Endpoints"]]
    found += [each["FunctionName"] for each in client("lambda").list_functions()["Functions"]]
    found += [each["logGroupName"] for each in client("logs").describe_log_groups()["logGroups"]]
    return [name for name in found if "kennel" in name]
