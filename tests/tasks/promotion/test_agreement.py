"""A challenger answers copies of the requests before any caller gets its answers; one that disagrees is rejected."""

import multiprocessing
import os
import signal
from collections.abc import Iterator

import pytest

from tasks.promotion.agreement import METRIC, NAMESPACE, Agreement, require_agreement
from tasks.promotion.change import promote_watched, settle_earlier
from tasks.promotion.shadow import ShadowPhase, shadowing
from tasks.run.aws import Aws
from tasks.run.errors import StageFailed, WaitTimedOut
from tasks.run.handle import Run
from tasks.run.options import PromotionOptions
from tasks.run.settings import Settings
from tasks.serving.endpoint_plan import SHADOW, endpoint_name
from tasks.serving.releases import Release
from tests.localaws.scaled_server import ScaledServer, scaled_server
from tests.polling import wait_until
from tests.tasks.promotion.shadow_scene import CLASSES, NEVER_LOADS, PHOTOS, Scene, callers, code, scene

PERMUTED = (*CLASSES[1:], CLASSES[0])
OPTIONS = PromotionOptions(shadow_minutes=4)  # two real seconds


@pytest.fixture(scope="module")
def server() -> Iterator[ScaledServer]:
    with scaled_server() as running:
        yield running


@pytest.fixture(scope="module")
def live(server: ScaledServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(server, tmp_path_factory.mktemp("shadow")) as made:
        yield made


def test_exchanged_labels_are_caught_before_any_caller_gets_them(live: Scene) -> None:
    wanted = live.challenger(code("challenger", PERMUTED))
    with callers(live.run, PHOTOS) as seen, pytest.raises(StageFailed, match="disagrees with the one") as caught:
        promote_watched(live.run, wanted, OPTIONS)

    found = live.run.need(Agreement)
    assert (found.outcome, found.agreed) == ("differ", 0) and found.photos >= 30
    assert (set(seen.models), seen.errors) == ({"champion"}, [])
    assert live.package(wanted).approval == "Rejected"
    assert found.text in live.package(wanted).reason and found.text == caught.value.why
    assert live.is_as_before()


def test_an_equal_model_agrees_and_the_share_is_published(live: Scene, server: ScaledServer) -> None:
    wanted = live.challenger(code("challenger"))
    with callers(live.run, PHOTOS) as seen:
        found = require_agreement(live.run, wanted, OPTIONS)

    assert (found.outcome, found.least) == ("agree", 0.5)
    assert found.requests >= found.photos == found.agreed >= 30
    assert (set(seen.models), seen.errors) == ({"champion"}, [])
    assert live.package(wanted).approval == "PendingManualApproval"
    dimensions = {"EndpointName": endpoint_name(live.run.id), "VariantName": SHADOW}
    shares = wait_until(lambda: server.sums(NAMESPACE, METRIC, dimensions, "Maximum"))
    assert 1.0 in shares.values()
    assert live.is_as_before()


def test_too_few_requests_judge_nothing_and_reject_nothing(live: Scene) -> None:
    wanted = live.challenger(code("challenger", PERMUTED))
    with pytest.raises(WaitTimedOut, match="agreement of") as caught:
        require_agreement(live.run, wanted, PromotionOptions(shadow_minutes=1))

    assert "0 copied requests of 30" in caught.value.why and "--shadow-minutes" in caught.value.next_command
    assert live.package(wanted).approval == "PendingManualApproval"
    assert live.is_as_before()


def test_a_challenger_that_does_not_start_is_rejected(live: Scene) -> None:
    wanted = live.challenger(NEVER_LOADS)
    with callers(live.run, PHOTOS) as seen, pytest.raises(StageFailed):
        require_agreement(live.run, wanted, OPTIONS)
    assert (set(seen.models), seen.errors) == ({"champion"}, [])
    assert live.package(wanted).approval == "Rejected" and live.is_as_before()


def test_what_a_killed_command_left_is_ended_by_the_next(live: Scene) -> None:
    wanted = live.challenger(code("challenger"))
    child = multiprocessing.get_context("fork").Process(target=_hold, args=(live.run.settings, live.run.id, wanted))
    child.start()
    wait_until(lambda: live.described().get("ShadowProductionVariants"), "a shadow")
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join(30)
    left = live.run.need(ShadowPhase)

    assert not left.is_over and not live.is_as_before()
    assert settle_earlier(live.run) is None
    assert live.is_as_before()
    assert live.package(wanted).approval == "PendingManualApproval"


def _hold(settings: Settings, run_id: str, wanted: Release) -> None:
    with shadowing(Run(Aws(settings), run_id), wanted):
        signal.pause()


def test_nothing_is_settled_where_no_copies_were_made(live: Scene) -> None:
    live.run.forget(ShadowPhase)
    assert settle_earlier(live.run) is None
