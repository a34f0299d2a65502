"""A room for processing jobs on the server that all tests share."""

import pytest

from tests.conftest import RunningLocalAws
from tests.localaws.sagemaker.processing.processing_rooms import ProcessingRoom
from tests.localaws.sagemaker.training.training_rooms import make_room


@pytest.fixture(scope="module")
def room(localaws: RunningLocalAws) -> ProcessingRoom:
    return ProcessingRoom(make_room(localaws))
