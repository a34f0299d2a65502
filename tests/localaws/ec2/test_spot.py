"""Faults of EC2 on demand: spot interruptions, capacity that runs out, launches that fail."""

import io
import json
import signal
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paramiko
import pytest

from localaws import control
from tests.conftest import RunningLocalAws, client_environment, start_server, wait_for_url
from tests.localaws.ec2.ec2_rooms import Ec2Room, refused
from tests.localaws.scaled_server import scaled_server
from tests.polling import wait_until

SPOT = {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}}
TIME_SCALE = 40  # two minutes of notice are three seconds
ASKS_FOR_NOTICE = """
import time, urllib.error, urllib.request
url, told = "http://169.254.169.254/latest/meta-data/spot/instance-action", False
while True:
    try:
        print(urllib.request.urlopen(url, timeout=30).read().decode(), flush=True)
        break
    except urllib.error.HTTPError:
        told or print("none yet", flush=True)
        told = True
        time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def fast() -> Iterator[RunningLocalAws]:
    """A server of these tests' own, whose clock is fast and whose capacity they may limit."""
    with scaled_server(scale=TIME_SCALE) as running:
        yield running.localaws


@pytest.fixture
def room(fast: RunningLocalAws) -> Iterator[Ec2Room]:
    with Ec2Room(fast) as room:
        yield room


# --- interruptions ----------------------------------------------------------------------------------------------------


def test_an_interrupted_spot_instance_has_its_notice_first_and_then_ends(room: Ec2Room) -> None:
    described = room.running(**SPOT)
    instance_id = described["InstanceId"]
    assert described["InstanceLifecycle"] == "spot"
    before = datetime.now(UTC)
    status, answer = room.post(f"instances/{instance_id}/interrupt")
    moment, after = datetime.fromisoformat(answer["time"]), datetime.now(UTC)
    assert (status, answer["action"]) == (202, "terminate")
    assert before <= moment - timedelta(seconds=120 / TIME_SCALE) <= after
    assert room.state(instance_id) == "running"
    ended = room.until(instance_id, "terminated")
    assert datetime.now(UTC) >= moment
    assert ended["StateReason"] == {
        "Code": "Server.SpotInstanceTermination",
        "Message": "Server.SpotInstanceTermination: Spot instance termination",
    }


def test_the_notice_is_at_the_instances_own_metadata(room: Ec2Room) -> None:
    name = room.name()
    key = room.ec2.create_key_pair(KeyName=name, KeyType="ed25519")["KeyMaterial"]
    described = room.running(KeyName=name, SecurityGroupIds=[room.group(22)], **SPOT)
    with room.ssh(described["PublicIpAddress"], paramiko.Ed25519Key.from_private_key(io.StringIO(key))) as client:
        asking, stdout, _ = client.exec_command(f"python3 -c '{ASKS_FOR_NOTICE}'", timeout=60)
        assert stdout.readline() == "none yet\n"
        _, answer = room.post(f"instances/{described['InstanceId']}/interrupt")
        notice = json.loads(stdout.readline())
        asking.close()
    assert notice["action"] == "terminate"
    told, done = datetime.fromisoformat(notice["time"]), datetime.fromisoformat(answer["time"])
    assert abs((told - done).total_seconds()) < 1


def test_a_second_interruption_changes_nothing(room: Ec2Room) -> None:
    instance_id = room.running(**SPOT)["InstanceId"]
    first, second = (room.post(f"instances/{instance_id}/interrupt")[1] for _ in range(2))
    assert first == second


def test_an_instance_that_ends_during_its_notice_ends_for_its_own_reason(room: Ec2Room) -> None:
    instance_id = room.running(**SPOT)["InstanceId"]
    room.post(f"instances/{instance_id}/interrupt")
    room.ec2.terminate_instances(InstanceIds=[instance_id])
    ended = room.until(instance_id, "terminated")
    assert ended["StateReason"]["Code"] == "Client.UserInitiatedShutdown"


def test_only_a_running_spot_instance_can_be_interrupted(room: Ec2Room) -> None:
    on_demand = room.launch()
    assert room.post("instances/i-0123456789abcdef0/interrupt")[0] == 404
    status, answer = room.post(f"instances/{on_demand}/interrupt")
    assert (status, "does not run on spot capacity" in answer["message"]) == (409, True)
    ended = room.launch(**SPOT)
    room.ec2.terminate_instances(InstanceIds=[ended])
    room.until(ended, "terminated")
    assert room.post(f"instances/{ended}/interrupt")[0] == 409


def test_a_one_time_spot_instance_cannot_be_stopped(room: Ec2Room) -> None:
    instance_id = room.launch(**SPOT)
    with refused("UnsupportedOperation", f"You can't stop the Spot Instance '{instance_id}'"):
        room.ec2.stop_instances(InstanceIds=[instance_id])


@pytest.mark.parametrize(
    ("member", "value"), [("SpotInstanceType", "persistent"), ("InstanceInterruptionBehavior", "stop")]
)
def test_other_kinds_of_spot_are_refused_by_name(room: Ec2Room, member: str, value: str) -> None:
    options: dict[str, Any] = {"MarketType": "spot", "SpotOptions": {member: value}}
    with refused("UnsupportedOperation", f"InstanceMarketOptions.SpotOptions.{member}='{value}'"):
        room.launch(InstanceMarketOptions=options)


# --- capacity ---------------------------------------------------------------------------------------------------------


def test_a_spot_pool_runs_out_and_on_demand_does_not(room: Ec2Room) -> None:
    room.post("capacity?type=c5.xlarge&market=spot&available=1")
    room.launch(InstanceType="c5.xlarge", **SPOT)
    with refused("InsufficientInstanceCapacity", "There is no Spot capacity available that matches your request."):
        room.launch(InstanceType="c5.xlarge", **SPOT)
    room.launch(InstanceType="c5.xlarge")
    room.post("capacity?type=c5.xlarge&market=spot&available=unlimited")
    room.launch(InstanceType="c5.xlarge", **SPOT)


def test_a_launch_takes_what_there_is_down_to_its_minimum(room: Ec2Room) -> None:
    room.post("capacity?type=c5.2xlarge&available=2")
    with refused("InsufficientInstanceCapacity", "do not have sufficient c5.2xlarge capacity in the Availability Zone"):
        room.launch_all(InstanceType="c5.2xlarge", MinCount=3, MaxCount=3)
    assert len(room.launch_all(InstanceType="c5.2xlarge", MinCount=1, MaxCount=3)) == 2


def test_a_stopped_instance_may_find_no_capacity_to_start_again(room: Ec2Room) -> None:
    instance_id = room.running(InstanceType="c5.4xlarge")["InstanceId"]
    room.ec2.stop_instances(InstanceIds=[instance_id])
    room.until(instance_id, "stopped")
    room.post("capacity?type=c5.4xlarge&available=0")
    with refused("InsufficientInstanceCapacity", "c5.4xlarge"):
        room.ec2.start_instances(InstanceIds=[instance_id])
    assert room.state(instance_id) == "stopped"


def test_a_capacity_that_is_no_number_is_refused(room: Ec2Room) -> None:
    status, answer = room.post("capacity?type=c5.xlarge&available=some")
    assert (status, "available=a number or unlimited" in answer["message"]) == (400, True)


# --- launches that fail, and the caller -------------------------------------------------------------------------------


def test_a_launch_that_fails_ends_with_its_reason_and_the_next_one_runs(room: Ec2Room) -> None:
    room.post("launch-failures?type=c5.9xlarge&count=1")
    first, second = room.launch(InstanceType="c5.9xlarge"), room.launch(InstanceType="c5.9xlarge")
    ended = room.until(first, "terminated")
    assert ended["StateReason"]["Code"] == "Server.InternalError"
    assert ended["StateReason"]["Message"].startswith("Server.InternalError: Internal error on launch")
    room.until(second, "running")


def test_a_caller_can_ask_for_its_address(room: Ec2Room) -> None:
    with urllib.request.urlopen(f"{room.server.url}/_localaws/caller-address", timeout=60) as reply:
        assert reply.read() == b"127.0.0.1\n"


def test_the_end_of_the_server_ends_the_instances(tmp_path: Path) -> None:
    server = start_server(tmp_path)
    url = wait_for_url(tmp_path, server)
    room = Ec2Room(RunningLocalAws(url, tmp_path, server.pid, client_environment(url)))
    described = room.running(SecurityGroupIds=[room.group(22)])
    assert room.is_open(described["PublicIpAddress"])
    assert control.status(tmp_path).instances == [(described["InstanceId"], "running")]
    port = room.ssh_port()
    server.send_signal(signal.SIGINT)
    server.wait(20)
    room.ssh_port = lambda: port  # type: ignore[method-assign]  # its record is gone with the server
    wait_until(lambda: not room.is_open(described["PublicIpAddress"]), "the instance ends")
