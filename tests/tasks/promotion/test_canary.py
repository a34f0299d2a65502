"""A new version of a function gets a share of the calls first; alarms give them back to the former one."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import binom

from tasks.promotion.canary import Canary, settle_canary
from tasks.promotion.canary_watch import canary_guards
from tasks.promotion.guards import Limits
from tasks.run.aws import Aws
from tasks.run.errors import StageFailed
from tasks.run.handle import Run
from tasks.run.options import DeployOptions
from tasks.run.records import FunctionRef
from tasks.run.settings import Settings
from tasks.serving.function import Shift, point_alias
from tests.localaws.scaled_server import ScaledServer, scaled_server
from tests.polling import wait_until
from tests.tasks.promotion.canary_scene import OPTIONS, ROOMY, SCALE, WEIGHT, Asked, FunctionScene, asking, code
from tests.tasks.promotion.canary_scene import function_scene as made_scene

RAISES = "if random.random() < 0.5: raise RuntimeError('half of my calls')"
ANSWERS_500 = 'if random.random() < 0.5: return {"statusCode": 500, "body": "{}"}'


@pytest.fixture(scope="module")
def server() -> Iterator[ScaledServer]:
    with scaled_server(scale=SCALE) as running:
        yield running


@pytest.fixture(scope="module")
def scene(server: ScaledServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionScene]:
    with made_scene(server, tmp_path_factory.mktemp("canary")) as made:
        yield made


def is_within_bound(seen: Asked, version: str) -> bool:
    touched = seen.versions[version] + seen.raised[version]
    return bool(touched <= binom.ppf(0.9999, (seen.versions + seen.raised).total(), WEIGHT))


def test_a_good_version_gets_a_share_then_all_calls_and_no_call_is_lost(scene: FunctionScene) -> None:
    former, _ = scene.alias()
    with asking(scene.run) as seen:
        deployed = scene.deploy(code())
    assert scene.alias() == (deployed.version, {}) and deployed.version != former
    scene.run.keep(deployed)
    kept = scene.run.need(Canary)
    assert (kept.outcome, kept.former, kept.version, kept.failed, kept.errors) == (
        "live",
        former,
        deployed.version,
        0,
        0,
    )
    assert 30 <= kept.touched <= kept.most < kept.sent and kept.calls >= kept.touched
    assert (seen.raised, seen.refused, set(seen.versions)) == ({}, [], {former, deployed.version})
    assert scene.alarms() == []


@pytest.mark.parametrize(("fault", "alarm"), [(RAISES, "errors"), (ANSWERS_500, "answers")])
def test_a_version_that_fails_on_a_share_of_its_calls_is_taken_back_with_the_alarm(
    scene: FunctionScene, fault: str, alarm: str
) -> None:
    former, _ = scene.alias()
    with asking(scene.run) as seen, pytest.raises(StageFailed, match="was taken back") as caught:
        scene.deploy(code(fault))
    assert scene.alias() == (former, {}) and caught.value.exit_code == 9
    assert f"function-{alarm}: Threshold Crossed" in caught.value.why
    kept = scene.run.need(Canary)
    assert (kept.outcome, kept.former) == ("taken back", former) and caught.value.why in kept.why
    assert 0 < kept.failed <= kept.touched <= kept.most
    assert is_within_bound(seen, kept.version)
    assert seen.refused == [] and set(seen.raised) <= {kept.version}
    assert scene.alarms() == []


def test_a_version_that_stays_slow_is_taken_back_by_the_p99(scene: FunctionScene) -> None:
    former, _ = scene.alias()
    with pytest.raises(StageFailed, match="was taken back") as caught:
        scene.deploy(code("time.sleep(0.4)"), limits=Limits(slower=1.5))
    assert "function-duration: Threshold Crossed: 2 out of the last 2 datapoints" in caught.value.why
    assert scene.alias() == (former, {})
    shift = Shift(replace(scene.run.need(FunctionRef), version=scene.run.need(Canary).version), former)
    *_, latency = canary_guards(scene.run, shift, Limits(slower=1.5))
    assert latency.metric == "Duration" and latency.threshold < 400  # what was taken back does not raise what is usual


def test_without_a_share_a_new_version_gets_all_calls_at_once_and_what_is_unchanged_is_not_shifted(
    scene: FunctionScene,
) -> None:
    scene.run.forget(Canary)
    source = code()
    deployed = scene.deploy(source, DeployOptions(canary=0))
    scene.run.keep(deployed)
    assert scene.alias() == (deployed.version, {})
    assert scene.deploy(source) == deployed
    assert scene.run.find(Canary) is None


def test_a_command_that_is_killed_leaves_the_share_and_the_next_one_takes_it_back(scene: FunctionScene) -> None:
    former, _ = scene.alias()
    source = code()
    plan = scene.plan(source)
    arguments = (scene.run.settings, scene.run.id, scene.folder, source)
    process = multiprocessing.get_context("fork").Process(target=deploy_forever, args=arguments)
    process.start()
    assert plan.name == scene.run.need(FunctionRef).name
    wait_until(lambda: Run(scene.run.aws, scene.run.id).find(Canary) is not None and scene.alias()[1] != {})
    wait_until(lambda: len(alarm_names(scene)) == 3)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(30)
    version, others = scene.alias()
    assert version == former and list(others.values()) == [WEIGHT]

    run = Run(scene.run.aws, scene.run.id)
    ended = settle_canary(run)
    assert ended is not None and (ended.outcome, ended.why) == ("taken back", "its command ended before it was judged")
    assert scene.alias() == (former, {}) and alarm_names(scene) == [] and run.need(Canary) == ended
    assert settle_canary(run) is None


def test_a_command_that_was_killed_when_the_version_was_live_is_settled_as_live(scene: FunctionScene) -> None:
    name, (former, _) = scene.run.need(FunctionRef).name, scene.alias()
    version = str(scene.run.aws.client("lambda").publish_version(FunctionName=name)["Version"])
    begun = replace(scene.run.need(Canary), former=former, version=version, outcome="begun")
    scene.run.keep(begun)
    point_alias(scene.run.aws, name, version)
    ended = settle_canary(scene.run)
    assert ended is not None and ended.outcome == "live" and scene.alias() == (version, {})


def alarm_names(scene: FunctionScene) -> list[str]:
    found = scene.run.aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    return [each["AlarmName"] for each in found]


def deploy_forever(settings: Settings, run_id: str, folder: Path, source: str) -> None:
    """Deploy the source by weight in a process of its own, with more minutes than the test lasts."""
    options = OPTIONS.model_copy(update={"canary_minutes": 60.0})
    FunctionScene(Run(Aws(settings), run_id), folder).deploy(source, options, ROOMY)
