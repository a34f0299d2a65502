"""`kennel schedule`, and a real worker that runs what it made: one retraining at a time."""

from pathlib import Path
from typing import Any

import pytest

from tasks.registry.packages import ModelVersion
from tasks.run.options import TrainingOptions
from tasks.run.training_choice import TrainingChoice
from tests.counting_proxy import Calls
from tests.kennel.prefect_worker import PrefectServer, worker
from tests.kennel.shell import Terminal, exported
from tests.kennel.signalled import held
from tests.polling import wait_until
from tests.tasks.registry.trained_runs import account, trained_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RUN = "dogs"


def asked(terminal: Terminal, *arguments: str) -> list[dict[str, Any]]:
    done = terminal.kennel("schedule", *arguments, "--json")
    assert done.code == 0, done.err
    schedules: list[dict[str, Any]] = done.answer["schedules"]
    return schedules


def test_a_schedule_is_set_paused_and_carried_out_one_run_at_a_time(
    terminal: Terminal, calls: Calls, tmp_path: Path
) -> None:
    aws = account(calls.url, tmp_path)
    run = trained_run(type(aws)(aws.settings.model_copy(update={"runs": terminal.runs})), RUN, "dogs")
    arn = run.aws.arn("sagemaker", "model-package/kennel-dogs/1")
    run.keep(ModelVersion("kennel-dogs", 1, arn, "kennel-dogs/dogs-1", RUN, "i", "s3://b/m", "s3://b/m", "d" * 64))
    run.keep(TrainingChoice.of(TrainingOptions(views=1)))

    assert asked(terminal, "show") == []
    (made,) = asked(terminal, "set", RUN, "--cron", "30 2 * * *", "--timezone", "Europe/Berlin")
    assert (made["run_id"], made["is_paused"], len(made["next_times"])) == (RUN, False, 3)
    assert made["parameters"] == {
        "run_id": RUN,
        "data": "sample",
        "at_least_hours": 0.0,
        "promote_on": "better",
        "promotes": True,
    }
    (paused,) = asked(terminal, "pause", RUN)
    assert (paused["is_paused"], paused["next_times"]) == (True, [])
    assert asked(terminal, "resume", RUN)[0]["next_times"] == made["next_times"]
    assert asked(terminal, "set", RUN, "--cron", "0 4 * * 1")[0]["cron"] == "0 4 * * 1"
    assert [each["cron"] for each in asked(terminal, "show")] == ["0 4 * * 1"]

    server, variables = prefect_of(terminal, calls), server_variables(terminal)
    with held(calls, "GetCallerIdentity") as look, worker(terminal, variables, tmp_path / "log"):
        first = server.begin("retrain", RUN)
        wait_until(look.met.is_set, "the first run's first call", seconds=120)
        second = server.begin("retrain", RUN)
        assert wait_until(lambda: server.final_state(second), "the second run's end", seconds=60) == "CANCELLED"
        assert server.final_state(first) is None
        server.cancel(first)
        assert wait_until(lambda: server.final_state(first), "the first run's end", seconds=60) == "CANCELLED"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", RUN, "--cron", "99 * * * *"), "99 * * * *"),
        (("set", RUN, "--timezone", "Mars/Base"), "Mars/Base"),
        (("set", RUN, "--data", "https://me:s3cret@example.org/dogs.zip"), "may have a secret in its URL"),
        (("pause", "cats"), "cats"),
    ],
)
def test_what_is_no_schedule_is_refused(terminal: Terminal, arguments: tuple[str, ...], said: str) -> None:
    done = terminal.kennel("schedule", *arguments)
    assert done.code == 2 and said in done.err and "s3cret" not in done.err and "Traceback" not in done.err, done.err


def server_variables(terminal: Terminal) -> dict[str, str]:
    return exported(terminal.kennel("up").out)


def prefect_of(terminal: Terminal, calls: Calls) -> PrefectServer:
    variables = server_variables(terminal)
    return PrefectServer(variables["PREFECT_API_URL"], variables["PREFECT_API_AUTH_STRING"], calls)
