"""Which instances of a run are terminated, and which are refused and left running, on localaws's EC2."""

import os
import signal
import subprocess
import sys

import pytest

from kennel.commands.train_ec2 import minutes_of
from tasks.ec2.launch import launch, refuse_other_plans
from tasks.ec2.state import instance_facts
from tasks.ec2.terminate import end_instances
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused, SettingsRefused
from tasks.run.handle import Run
from tests.counting_proxy import Calls, Fault
from tests.keys import for_environment
from tests.tasks.ec2.instances import account, living, planned

EMPTY = b"<DescribeInstancesResponse><requestId>0</requestId><reservationSet/></DescribeInstancesResponse>"


@pytest.fixture(scope="module")
def aws(counted: Calls, tmp_path_factory: pytest.TempPathFactory) -> Aws:
    return account(counted.url, tmp_path_factory.mktemp("gangs"))


def test_an_instance_of_another_plan_is_refused_before_anything_is_launched(aws: Aws, calls: Calls) -> None:
    run = Run(aws, "gang-1")
    ref = launch(run, planned(run))
    refuse_other_plans(aws, [planned(run), planned(run, number=2)])
    calls.seen.clear()
    with pytest.raises(OwnershipRefused, match=ref.instance_id):
        refuse_other_plans(aws, [planned(run, spot=True)])
    assert "RunInstances" not in calls.seen
    assert end_instances(run) == (ref.instance_id,)


def test_an_instance_whose_launch_was_cut_is_ended_although_ec2_does_not_show_it_at_once(
    aws: Aws, calls: Calls
) -> None:
    run = Run(aws, "gang-2")
    ref = launch(run, planned(run))
    name = run.ledger.live()[-1].name
    run.ledger.record("instance", name, "intended")  # as a process leaves it that ends while it waits for the answer
    calls.faults.append(Fault("DescribeInstances", instead=(200, EMPTY), times=3))
    assert end_instances(run) == (ref.instance_id,)
    assert living(aws, "gang-2") == []


def test_what_is_looked_for_after_a_cut_launch_is_given_up_soon(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(aws, "gang-3")
    run.ledger.record("instance", "kennel-gang-3-ec2-1-1-00000000", "intended")
    monkeypatch.setattr("tasks.ec2.terminate.LOST_ANSWER_SECONDS", 0.5)
    assert end_instances(run) == ()
    assert [row.state for row in run.ledger.live()] == ["intended"], "the next teardown has to look again"


def test_instances_are_ended_although_the_terminal_was_closed(aws: Aws) -> None:
    launch(Run(aws, "gang-5"), planned(Run(aws, "gang-5")))
    main, side = os.openpty()
    os.close(main)  # whoever writes to the other side now gets an error
    settings = {"AWS_ENDPOINT_URL": aws.settings.endpoint_url or "", "AWS_REGION": "us-east-1", **for_environment()}
    places = {"KENNEL_HOME": str(aws.settings.home), "KENNEL_RUNS": str(aws.settings.runs)}
    command = [sys.executable, "-P", "-m", "kennel.commands.interrupted", str(int(signal.SIGHUP)), "gang-5"]
    done = subprocess.run(command, env={**os.environ, **settings, **places}, stderr=side, timeout=120, check=False)
    os.close(side)
    assert (done.returncode, living(aws, "gang-5")) == (129, [])


def test_of_an_ended_instance_no_groups_are_asked_for(aws: Aws, calls: Calls) -> None:
    run = Run(aws, "gang-4")
    ref = launch(run, planned(run))
    end_instances(run)
    calls.seen.clear()
    assert instance_facts(aws, ref).state == "terminated"
    assert "DescribeSecurityGroups" not in calls.seen  # EC2 refuses a filter without values


@pytest.mark.parametrize(("text", "minutes"), [(None, 0), ("10m", 10), ("4h", 240)])
def test_how_long_a_failed_instance_is_kept(text: str | None, minutes: int) -> None:
    assert minutes_of(text) == minutes


@pytest.mark.parametrize("text", ["5m", "0m", "5h", "30", "30s", "", "-1m"])
def test_a_time_in_which_nobody_could_look_or_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsRefused, match="10m to 4h"):
        minutes_of(text)
