"""A room for training jobs on the server that all tests share."""

import pytest

from tests.conftest import RunningLocalAws
from tests.localaws.sagemaker.training.training_rooms import Room, make_room


@pytest.fixture(scope="module")
def room(localaws: RunningLocalAws) -> Room:
    return make_room(localaws)
