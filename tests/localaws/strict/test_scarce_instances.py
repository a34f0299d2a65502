"""A strict server has no instances of some types, and takes those of a spot job back once."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from localaws.sagemaker.jobs.supply import GIVEN_UP, PATIENCE_SECONDS, RETRYING
from localaws.strictness import LENIENT, STRICT
from tests.localaws.ec2.ec2_rooms import Ec2Room, refused
from tests.localaws.sagemaker.training.training_rooms import make_room, statuses
from tests.localaws.scaled_server import SCALE, ScaledServer, scaled_server
from tests.localaws.strict.conftest import wait_for_roles, with_patient_clients

pytestmark = pytest.mark.strict

TYPES = [f"{family}.{size}" for family in ("c5", "m5", "c6i", "m6i", "r6i") for size in ("large", "xlarge", "2xlarge")]
TAKEN_BACK_SOON = 12  # at this scale after 5 to 6 s, by the name SOON
SOON = "spot-13"
SPOT = {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}}
STEPS = """
    import pathlib, time
    store = pathlib.Path("/opt/ml/checkpoints/step")
    step = int(store.read_text()) if store.exists() else 0
    store.write_text("7")
    time.sleep(60 if step == 0 else 0)
    pathlib.Path("/opt/ml/model/step").write_text(str(step))
"""


@pytest.fixture(scope="module")
def scarce() -> Iterator[ScaledServer]:
    """A strict server that has no instance of any type."""
    with scaled_server("--strict", "--capacity-errors", "1") as server:
        yield with_patient_clients(server)


def test_a_share_of_the_pools_is_empty_and_always_the_same() -> None:
    def empty(seed: int) -> list[tuple[str, bool]]:
        drawn = replace(STRICT, seed=seed)
        return [(name, spot) for name in TYPES for spot in (False, True) if drawn.lacks_capacity(name, is_spot=spot)]

    assert empty(1) == empty(1) != empty(2)
    assert 0.1 < sum(len(empty(seed)) for seed in range(100)) / (200 * len(TYPES)) < 0.3
    assert not any(LENIENT.lacks_capacity(name, is_spot=False) for name in TYPES)


def test_ec2_refuses_an_empty_pool_in_both_markets(scarce: ScaledServer) -> None:
    with Ec2Room(scarce.localaws) as room:
        with refused("InsufficientInstanceCapacity", "We currently do not have sufficient c5.large capacity"):
            room.launch()
        with refused("InsufficientInstanceCapacity", "There is no Spot capacity available"):
            room.launch(**SPOT)


def test_a_job_that_gets_no_instances_fails_after_a_while(scarce: ScaledServer) -> None:
    room = make_room(scarce.localaws)
    scarce.client("sagemaker")
    wait_for_roles(scarce)

    described = room.run("print('never')")

    assert statuses(described) == ["Starting", "Starting", "Failed"]
    assert described["FailureReason"] == GIVEN_UP
    looking = described["SecondaryStatusTransitions"][1]
    assert looking["StatusMessage"] == RETRYING
    assert (looking["EndTime"] - looking["StartTime"]).total_seconds() >= PATIENCE_SECONDS / SCALE
    assert "BillableTimeInSeconds" not in described


def test_a_spot_job_waits_for_instances_until_its_time_is_over(scarce: ScaledServer) -> None:
    room = make_room(scarce.localaws)
    wait_for_roles(scarce)
    limits = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}

    described = room.run("print('never')", EnableManagedSpotTraining=True, StoppingCondition=limits)

    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")


def test_a_spot_job_is_interrupted_once_and_goes_on_from_its_checkpoint() -> None:
    with scaled_server("--strict", scale=TAKEN_BACK_SOON) as server:
        slower = with_patient_clients(server)
        room = make_room(slower.localaws)
        wait_for_roles(slower)
        request = room.request(
            STEPS,
            EnableManagedSpotTraining=True,
            StoppingCondition={"MaxRuntimeInSeconds": 120, "MaxWaitTimeInSeconds": 120},
            CheckpointConfig={"S3Uri": f"s3://{room.bucket}/spot-checkpoints"},
        )
        slower.client("sagemaker").create_training_job(**{**request, "TrainingJobName": SOON})
        described = room.end_of(SOON)
        checkpoint = room.get("spot-checkpoints/step")

    attempt = ["Starting", "Downloading", "Training"]
    assert statuses(described) == [*attempt, "Interrupted", *attempt, "Uploading", "Completed"]
    training = described["SecondaryStatusTransitions"][2]
    held = (training["EndTime"] - training["StartTime"]).total_seconds()
    assert held * TAKEN_BACK_SOON >= STRICT.spot_interruptions.least
    assert checkpoint == b"7"
