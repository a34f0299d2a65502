"""A room for tuning jobs on the server that all tests share."""

import pytest

from tests.conftest import RunningLocalAws
from tests.localaws.sagemaker.training.training_rooms import make_room
from tests.localaws.sagemaker.tuning.tuning_rooms import TuningRoom


@pytest.fixture(scope="module")
def tuning(localaws: RunningLocalAws) -> TuningRoom:
    return TuningRoom(make_room(localaws))
