"""How tuning jobs end: by their criteria, stopped, with failed trials, or with the server."""

import os
import signal
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.conftest import running_localaws, start_server, wait_for_url
from tests.keys import bearer
from tests.localaws.roles import make_role, remove_role
from tests.localaws.sagemaker.training.training_rooms import make_room, room_at
from tests.localaws.sagemaker.tuning.tuning_rooms import BOWL, LIMITS, TuningRoom
from tests.localaws.scaled_server import scaled_server
from tests.polling import wait_until

WAITS = """
    import time
    print("loss=1.0")
    time.sleep(600)
"""
KINDS = """
    import argparse, time
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind")
    options, _ = parser.parse_known_args()
"""


def grid(*values: str) -> dict[str, object]:
    ranges = {"CategoricalParameterRanges": [{"Name": "kind", "Values": list(values)}]}
    return {"Strategy": "Grid", "ParameterRanges": ranges, "ResourceLimits": {"MaxParallelTrainingJobs": 1}}


def test_auto_stops_a_job_that_is_worse_than_those_before_it(tuning: TuningRoom) -> None:
    script = (
        KINDS
        + """
    for epoch in range(3):
        print("loss=0.1" if options.kind == "good" else "loss=0.9")
    if options.kind == "bad":
        time.sleep(600)
    """
    )

    done = tuning.run(script, **grid("good", "bad"), TrainingJobEarlyStoppingType="Auto")

    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    counters = done["TrainingJobStatusCounters"]
    assert (counters["Completed"], counters["Stopped"]) == (1, 1)
    assert done["BestTrainingJob"]["TunedHyperParameters"] == {"kind": "good"}
    assert done["ObjectiveStatusCounters"]["Succeeded"] == 2


def test_hyperband_stops_what_has_had_as_many_epochs_as_the_script_was_to_have(tuning: TuningRoom) -> None:
    script = """
        import argparse, time
        parser = argparse.ArgumentParser()
        parser.add_argument("--rate", type=float)
        parser.add_argument("--epochs", type=int)
        options = parser.parse_args()
        for epoch in range(1000):
            print(f"epoch={epoch} loss={options.rate + 1 / (epoch + 1)}")
            time.sleep(0.5)
    """

    done = tuning.run(script, Strategy="Hyperband", static={"epochs": "4"})

    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    assert done["TrainingJobStatusCounters"]["Stopped"] == 4
    losses = tuning.losses(done["HyperParameterTuningJobName"])
    assert done["BestTrainingJob"]["TrainingJobName"] == min(losses, key=losses.__getitem__)


def test_a_target_that_is_reached_ends_the_search_and_stops_what_runs(tuning: TuningRoom) -> None:
    script = (
        KINDS
        + """
    if options.kind == "b":
        time.sleep(600)
    print("loss=0.05")
    """
    )
    limits = {"ResourceLimits": {"MaxParallelTrainingJobs": 2}}
    criteria = {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.1}}

    done = tuning.run(script, **{**grid("a", "b", "c"), **limits, **criteria})

    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    assert done["BestTrainingJob"]["TunedHyperParameters"]["kind"] in ("a", "c")
    jobs = tuning.jobs(done["HyperParameterTuningJobName"])
    assert {job["TrainingJobStatus"] for job in jobs} == {"Completed", "Stopped"}


def test_a_search_ends_when_nothing_improves_any_more(tuning: TuningRoom) -> None:
    patience = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
    limits = {"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 1}

    done = tuning.run("print('loss=0.5')", TuningJobCompletionCriteria=patience, ResourceLimits=limits)

    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    assert done["TrainingJobStatusCounters"]["Completed"] == 4
    assert done["TuningJobCompletionDetails"]["NumberOfTrainingJobsObjectiveNotImproving"] == 3
    best = done["BestTrainingJob"]["TrainingJobName"]
    assert best.split("-")[2] == "001", "the first of equals"


def test_stop_stops_the_training_jobs_and_starts_no_other(tuning: TuningRoom) -> None:
    name = tuning.start(WAITS)
    running = tuning.first_running(name)
    with pytest.raises(ClientError, match="InProgress and cannot be deleted"):
        tuning.client.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)

    tuning.client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)

    done = tuning.end_of(name)
    assert (done["HyperParameterTuningJobStatus"], done["TrainingJobStatusCounters"]["InProgress"]) == ("Stopped", 0)
    assert {job["TrainingJobStatus"] for job in tuning.jobs(name)} == {"Stopped"}
    assert len(tuning.jobs(name)) <= LIMITS["MaxParallelTrainingJobs"]
    assert tuning.room.processes(running) == []
    with pytest.raises(ClientError, match="rejected because the hyperparameter tuning job is in status Stopped"):
        tuning.client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)


def test_a_killed_trial_and_one_with_an_error_do_not_end_the_search(tuning: TuningRoom) -> None:
    script = (
        KINDS
        + """
    if options.kind == "killed":
        time.sleep(600)
    if options.kind == "wrong":
        raise ValueError("no such kind")
    print("loss=nan" if options.kind == "nan" else "loss=0.4")
    """
    )
    name = tuning.start(script, **grid("killed", "wrong", "nan", "right"))
    victim = tuning.first_running(name)
    for process in tuning.room.processes(victim):
        os.kill(process.pid, signal.SIGKILL)

    done = tuning.end_of(name)

    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    counters = done["TrainingJobStatusCounters"]
    assert (counters["NonRetryableError"], counters["Completed"]) == (2, 2)
    assert done["ObjectiveStatusCounters"] == {"Succeeded": 1, "Pending": 0, "Failed": 3}
    assert done["BestTrainingJob"]["TunedHyperParameters"] == {"kind": "right"}
    failed = {each["TunedHyperParameters"]["kind"]: each for each in tuning.jobs(name, StatusEquals="Failed")}
    assert set(failed) == {"killed", "wrong"}
    reason = failed["wrong"]["FailureReason"]
    assert reason.startswith('AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "')
    assert "ValueError: no such kind" in reason and reason.endswith(", exit code: 1")


@pytest.mark.parametrize(
    ("script", "count", "reason"),
    [
        ("raise SystemExit(1)", 7, "No training job succeeded after 5 attempts."),
        ("raise SystemExit(1)", 2, "All training jobs failed."),
        ("print('loss is 1')", 2, "No objective metrics found after running 2 training jobs."),
    ],
)
def test_a_search_without_any_result_fails_and_says_why(
    tuning: TuningRoom, script: str, count: int, reason: str
) -> None:
    limits = {"MaxNumberOfTrainingJobs": count, "MaxParallelTrainingJobs": 1}

    done = tuning.run(script, ResourceLimits=limits)

    assert done["HyperParameterTuningJobStatus"] == "Failed"
    assert done["FailureReason"].startswith(reason)
    assert len(tuning.jobs(done["HyperParameterTuningJobName"])) == min(count, 5)
    assert "BestTrainingJob" not in done


def test_a_training_job_that_cannot_be_started_fails_the_search_which_says_why(tuning: TuningRoom) -> None:
    iam, role = tuning.room.client("iam"), f"tuning-{uuid.uuid4().hex[:8]}"
    limits = {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 1}
    own_role = {"RoleArn": make_role(iam, role, "sagemaker")}
    name = tuning.start(WAITS, ResourceLimits=limits, definition=own_role)
    running = tuning.first_running(name)
    remove_role(iam, role)

    tuning.client.stop_training_job(TrainingJobName=running)

    done = tuning.end_of(name)
    assert done["HyperParameterTuningJobStatus"] == "Failed"
    assert done["FailureReason"].startswith("ClientError: Could not assume role")
    assert done["TrainingJobStatusCounters"]["Stopped"] == 1


def test_max_runtime_ends_the_search_with_what_it_has() -> None:
    limits, scale = {**LIMITS, "MaxRuntimeInSeconds": 120}, 10
    with scaled_server(scale=scale) as server:
        tuning, began = TuningRoom(make_room(server.localaws)), time.monotonic()

        longer = {"StoppingCondition": {"MaxRuntimeInSeconds": 6000}}
        done = tuning.run(WAITS, ResourceLimits=limits, definition=longer)

    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    assert (time.monotonic() - began) * scale >= 119
    assert done["TrainingJobStatusCounters"]["Stopped"] == 2
    assert done["ConsumedResources"]["RuntimeInSeconds"] >= 119


def test_a_reset_ends_what_a_tuning_job_runs() -> None:
    with running_localaws() as server:
        tuning = TuningRoom(make_room(server))
        running = tuning.first_running(tuning.start(WAITS))

        urllib.request.urlopen(
            urllib.request.Request(f"{server.url}/_localaws/reset", method="POST", headers=dict(bearer())), timeout=60
        )

        wait_until(lambda: not tuning.room.processes(running), "the end of what ran")
        listed = tuning.client.list_hyper_parameter_tuning_jobs()
        assert listed["HyperParameterTuningJobSummaries"] == []


@pytest.mark.strict
def test_the_best_job_is_always_the_best_of_what_describe_training_job_shows() -> None:
    """A strict server shows a job's metrics 30 s after its end: here, a second. Without IAM it refuses no call rate."""
    with scaled_server("--strict", "--capacity-errors", "0", "--iam", "off", scale=30) as server:
        tuning = TuningRoom(make_room(server.localaws))
        name = wait_until(lambda: started(tuning), "the new role to be known", seconds=60)
        looks: list[str] = []

        def has_ended() -> bool:
            before, described, after = tuning.losses(name), tuning.describe(name), tuning.losses(name)
            best = described.get("BestTrainingJob")
            if best:
                value = best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
                assert value == after[best["TrainingJobName"]]
                assert min(after.values()) <= value <= min(before.values(), default=value)
                looks.append(best["TrainingJobName"])
            else:
                assert before == {}
            return str(described["HyperParameterTuningJobStatus"]) == "Completed"

        wait_until(has_ended, "the end of the tuning job", seconds=300)
        assert looks
        assert tuning.describe(name)["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}


def started(tuning: TuningRoom) -> str | None:
    """Start a search; None while a strict server does not know the new role yet."""
    try:
        return tuning.start(BOWL, Strategy="Bayesian")
    except ClientError as error:
        if "Could not assume role" not in str(error):
            raise
        return None


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_tuning_job_ends_with_the_server(needs_containers: None, tmp_path: Path, end: signal.Signals) -> None:
    server = start_server(tmp_path)
    try:
        room = TuningRoom(room_at(wait_for_url(tmp_path, server), tmp_path, server.pid))
        running = room.first_running(room.start(WAITS))
    finally:
        server.send_signal(end)
        server.wait(30)

    wait_until(lambda: not room.room.processes(running), "the end of what the server ran")
