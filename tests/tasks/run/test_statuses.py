"""Every status that ends a wait is named; one that AWS adds later is waited for and said once."""

import logging
import uuid

import botocore.session
import pytest

from tasks.run.statuses import ALL, ENDPOINT, Statuses


@pytest.mark.parametrize("statuses", ALL, ids=lambda each: each.shape)
def test_every_value_that_botocore_knows_has_one_meaning(statuses: Statuses) -> None:
    known = botocore.session.get_session().get_service_model(statuses.service).shape_for(statuses.shape).enum
    named = [*statuses.ready, *statuses.failed, *statuses.pending]
    assert sorted(named) == sorted(known)


@pytest.mark.parametrize("statuses", ALL, ids=lambda each: each.shape)
def test_an_unknown_value_is_neither_ready_nor_failed_and_is_logged_once(
    statuses: Statuses, caplog: pytest.LogCaptureFixture
) -> None:
    value = f"Hatching{uuid.uuid4().hex}"  # no other test of this process has met it
    with caplog.at_level(logging.INFO, "kennel"):
        for _ in range(3):
            assert statuses.is_pending(value)
            assert not statuses.is_ready(value) and not statuses.has_failed(value)
    assert len([line for line in caplog.messages if value in line and statuses.shape in line]) == 1


def test_a_known_value_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "kennel"):
        assert ENDPOINT.is_pending("RollingBack") and ENDPOINT.has_settled("InService")
    assert caplog.messages == []
