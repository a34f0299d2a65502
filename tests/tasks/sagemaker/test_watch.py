"""The end of a training job: only Completed is success, and a failure brings its reason and the last lines."""

from itertools import count
from typing import Any

import pytest

from tasks.account.logs import REMEMBERED_EVENTS, LogFollower, ReturnedEvents
from tasks.run.errors import NotFound, StageFailed, WaitTimedOut
from tasks.run.malformed_answers import MalformedAnswerError
from tasks.run.settings import REAL_AWS
from tasks.run.waiting import Waiting
from tasks.sagemaker.watch import follow_job
from tests.scripted import Scripted, not_found


def job(status: str, secondary: str, **more: Any) -> Scripted:
    events = [{"timestamp": number, "message": f"line {number}"} for number in range(30)]
    events.insert(3, {"timestamp": 3, "message": "Executing command: torchrun train.py"})

    def page(**arguments: Any) -> dict[str, Any]:
        return {"events": [] if arguments.get("nextToken") else events, "nextForwardToken": "f/1"}

    describe = {"TrainingJobName": "j", "TrainingJobStatus": status, "SecondaryStatus": secondary, **more}
    logs = {
        "describe_log_streams": lambda **_: {"logStreams": [{"logStreamName": "j/algo-2-1700000000"}]},
        "get_log_events": page,
    }
    return Scripted(sagemaker={"describe_training_job": lambda **_: describe}, logs=logs)


def follow(scripted: Scripted, said: list[str], clock: Any = lambda: 0.0) -> Any:
    waiting = Waiting(said.append, clock=clock, sleep=lambda _: None)
    return follow_job(scripted.aws, "j", deadline_seconds=60, waiting=waiting)


def test_lines_are_said_with_their_host_from_the_start_of_the_script_on() -> None:
    said: list[str] = []
    follow(job("Completed", "Completed"), said)
    assert said[0] == "algo-2 | (3 lines of set-up are in `kennel logs`)"
    assert said[1] == "algo-2 | Executing command: torchrun train.py"
    assert said[-1] == "algo-2 | line 29"


def test_a_failure_carries_aws_reason_and_the_last_20_lines_of_each_host() -> None:
    with pytest.raises(StageFailed) as caught:
        follow(job("Failed", "Failed", FailureReason="AlgorithmError: exit code 3"), [])
    assert "AlgorithmError: exit code 3" in caught.value.why
    assert "line 29" in caught.value.why and "line 10" in caught.value.why
    assert "line 9\n" not in caught.value.why


@pytest.mark.parametrize(
    ("secondary", "reason"),
    [
        ("MaxRuntimeExceeded", "MaxRuntimeInSeconds"),
        ("Stopped", "somebody stopped it"),
        ("MaxWaitTimeExceeded", "spot"),
    ],
)
def test_a_job_that_was_stopped_is_not_a_success(secondary: str, reason: str) -> None:
    with pytest.raises(StageFailed, match="it ended Stopped") as caught:
        follow(job("Stopped", secondary), [])
    assert reason in caught.value.why


@pytest.mark.parametrize(
    ("ended", "remedy"),
    [
        (
            job("Failed", "Failed", FailureReason="CapacityError: Unable to provision"),
            "or with --instance-type <another>",
        ),
        (job("Stopped", "MaxWaitTimeExceeded"), "or without --spot"),
        (job("Failed", "Failed", FailureReason="AlgorithmError: exit code 3"), "kennel logs; then"),
    ],
)
def test_what_to_do_next_depends_on_why_a_job_ended(ended: Scripted, remedy: str) -> None:
    with pytest.raises(StageFailed) as caught:
        follow(ended, [])
    assert remedy in caught.value.next_command


def test_a_job_that_does_not_end_is_given_up_at_the_deadline_and_never_silent_for_10_seconds() -> None:
    seconds = iter(range(0, 500, 3))
    said: list[str] = []
    with pytest.raises(WaitTimedOut, match="InProgress/Starting"):
        follow(job("InProgress", "Starting"), said, clock=lambda: float(next(seconds)))
    assert any("training job: InProgress/Starting" in line for line in said)


def test_a_job_that_vanished_is_an_error() -> None:
    gone = Scripted(sagemaker={"describe_training_job": not_found("DescribeTrainingJob")}, logs={})
    said: list[str] = []
    with pytest.raises(NotFound, match="it is gone"):
        follow(gone, said, clock=count(0.0, 2.0).__next__)
    assert any("training job: not shown by AWS yet" in line for line in said), "it was asked for again for a minute"


def test_a_new_job_that_aws_does_not_show_at_first_is_followed() -> None:
    missing, shown = not_found("DescribeTrainingJob"), {"TrainingJobName": "j", "TrainingJobStatus": "Completed"}
    answers = iter([missing] * 5)
    scripted = Scripted(
        sagemaker={"describe_training_job": lambda **_: next(answers, lambda **_: shown)()},
        logs={"describe_log_streams": lambda **_: {"logStreams": []}},
    )
    assert follow(scripted, [], clock=count(0.0, 1.0).__next__) == shown


def test_an_empty_page_is_not_the_end_of_a_stream() -> None:
    pages = {None: ([], "f/1"), "f/1": ([{"timestamp": 1, "message": "late"}], "f/2"), "f/2": ([], "f/2")}

    def page(**arguments: Any) -> dict[str, Any]:
        events, token = pages[arguments.get("nextToken")]
        return {"events": events, "nextForwardToken": token}

    streams = {"logStreams": [{"logStreamName": "j/algo-1-1700000000"}]}
    scripted = Scripted(logs={"describe_log_streams": lambda **_: streams, "get_log_events": page})
    follower = LogFollower(scripted.aws, "group", "j/")
    assert [str(line) for line in follower.poll()] == ["algo-1 | late"]
    assert follower.poll() == []


def test_a_line_that_aws_repeats_under_another_token_is_returned_once_and_equal_lines_are_all_returned() -> None:
    def event(message: str, at: int) -> dict[str, Any]:
        return {"timestamp": at, "ingestionTime": at + 5, "message": message}

    step, again, end = event("step", 1), event("step", 2), event("end", 3)
    pages = {
        None: ([step, step, again], "f/1"),
        "f/1": ([step, step, again], "f/2"),
        "f/2": ([again, end], "f/3"),
        "f/3": ([], "f/3"),
    }

    def page(**arguments: Any) -> dict[str, Any]:
        events, token = pages[arguments.get("nextToken")]
        return {"events": events, "nextForwardToken": token}

    streams = {"logStreams": [{"logStreamName": "j/algo-1-1700000000"}]}
    scripted = Scripted(logs={"describe_log_streams": lambda **_: streams, "get_log_events": page})
    follower = LogFollower(scripted.aws, "group", "j/")
    assert [line.message for line in follower.poll()] == ["step", "step", "step", "end"]
    pages["f/3"] = ([end, event("end", 4)], "f/4")
    pages["f/4"] = ([], "f/4")
    assert [line.timestamp_ms for line in follower.poll()] == [4]


def test_of_a_long_stream_only_the_newest_events_are_remembered() -> None:
    returned = ReturnedEvents()
    for number in range(3):
        events = [{"timestamp": at, "message": "m"} for at in range(number * 10_000, (number + 1) * 10_000)]
        assert len(list(returned.new_of(events))) == 10_000 and list(returned.new_of(events)) == []
    assert len(returned) == REMEMBERED_EVENTS


def test_a_job_of_a_status_that_nobody_knows_is_followed_until_the_deadline() -> None:
    ticks = iter(range(0, 10_000, 20))
    with pytest.raises(WaitTimedOut, match="training job j") as caught:
        follow(job("Hatching", "Hatching"), [], clock=lambda: float(next(ticks)))
    assert "it is still Hatching" in caught.value.why


def test_a_job_of_which_nothing_readable_is_told_is_followed_until_the_deadline() -> None:
    def answer(**_: Any) -> Any:
        raise MalformedAnswerError(operation="DescribeTrainingJob", endpoint_url="u", status=200, problem="it is cut")

    ticks = iter(range(0, 10_000, 20))
    with pytest.raises(WaitTimedOut, match="training job j") as caught:
        follow(Scripted(sagemaker={"describe_training_job": answer}), [], clock=lambda: float(next(ticks)))
    assert "it is still unknown (DescribeTrainingJob" in caught.value.why


@pytest.mark.parametrize("status", ["Completed", "Failed"])
def test_where_logs_are_late_the_last_lines_of_an_ended_job_are_waited_for(status: str) -> None:
    slept: list[float] = []

    def page(**arguments: Any) -> dict[str, Any]:
        late = [{"timestamp": 2, "message": "the reason"}] if sum(slept) >= 20 else []
        events = [{"timestamp": 1, "message": "Executing command: torchrun train.py"}, *late]
        return {"events": events, "nextForwardToken": "f/1"}

    scripted = job(status, status)
    scripted.target = REAL_AWS
    streams = {"logStreams": [{"logStreamName": "j/algo-1-1700000000"}]}
    logs = {"describe_log_streams": lambda **_: streams, "get_log_events": page}
    scripted._services = {**scripted._services, "logs": logs}
    said: list[str] = []
    waiting = Waiting(said.append, clock=lambda: sum(slept), sleep=slept.append)
    try:
        follow_job(scripted.aws, "j", deadline_seconds=60, waiting=waiting)
    except StageFailed as failed:
        said.append(failed.why)
    assert any("the reason" in line for line in said)
    assert sum(slept) == pytest.approx(30), "the longest time that a line may be late"
