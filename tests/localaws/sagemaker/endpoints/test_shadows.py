"""Shadow variants get copies of the requests and disturb nobody, however slow or dead they are."""

import asyncio
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.sagemaker.endpoints.shadows import MOST_COPIES, Copies, is_copied
from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, Workbench, variant_row
from tests.polling import wait_until

SHADOW_SECONDS = 1.0
SLOW = ECHO.replace("return {", f"__import__('time').sleep({SHADOW_SECONDS})\n    return {{")
SLOW_AND_MORTAL = SLOW.replace("return data", "return data if data != b'die' else os._exit(9)")


def _endpoint(bench: Workbench, shadow_code: str = ECHO, **shadow: Any) -> str:
    production = bench.model(environment={"VERSION": "production"})
    row = variant_row(VariantName="Shadow", ModelName=bench.model(shadow_code), **shadow)
    endpoint = bench.start(bench.config({"ModelName": production}, ShadowProductionVariants=[row]))
    assert bench.settled(endpoint)["EndpointStatus"] == "InService"
    return endpoint


def _shadow(bench: Workbench, endpoint: str) -> dict[str, Any]:
    (row,) = bench.settled(endpoint)["ShadowProductionVariants"]
    described: dict[str, Any] = row
    return described


def _count(bench: Workbench, endpoint: str, variant: str, metric: str = "Invocations") -> float:
    return float(sum(point["Sum"] for point in bench.metric_points(endpoint, metric, variant)))


def test_a_shadow_gets_a_copy_of_each_request_and_answers_none(bench: Workbench) -> None:
    endpoint = _endpoint(bench)
    described = bench.settled(endpoint)

    answers = [bench.invoke(endpoint, b"photo") for _ in range(25)]
    wait_until(lambda: _count(bench, endpoint, "Shadow") == 25)

    assert {answer["version"] for answer in answers} == {"production"}
    assert _count(bench, endpoint, "AllTraffic") == 25
    assert [row["VariantName"] for row in described["ProductionVariants"]] == ["AllTraffic"]
    assert {name: described["ShadowProductionVariants"][0][name] for name in ("VariantName", "CurrentWeight")} == {
        "VariantName": "Shadow",
        "CurrentWeight": 1.0,
    }
    with pytest.raises(ClientError, match=r"Variant Shadow not found for Request\."):
        bench.invoke(endpoint, TargetVariant="Shadow")


def test_a_shadow_is_scaled_and_its_share_changed_like_a_variant(bench: Workbench) -> None:
    endpoint = _endpoint(bench, InitialVariantWeight=0.5)
    change = {"VariantName": "Shadow", "DesiredWeight": 0.0, "DesiredInstanceCount": 2}
    bench.sagemaker.update_endpoint_weights_and_capacities(EndpointName=endpoint, DesiredWeightsAndCapacities=[change])
    changed = _shadow(bench, endpoint)
    for _ in range(10):
        bench.invoke(endpoint)
    bench.localaws.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId=f"endpoint/{endpoint}/variant/Shadow",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        MinCapacity=1,
        MaxCapacity=2,
    )

    assert (changed["CurrentWeight"], changed["CurrentInstanceCount"]) == (0.0, 2)
    assert _count(bench, endpoint, "Shadow") == 0


def test_a_slow_and_then_a_dead_shadow_delay_and_lose_no_request(bench: Workbench) -> None:
    endpoint = _endpoint(bench, SLOW_AND_MORTAL)

    slowest = _slowest_of(bench, endpoint, 6 * [b"x"])
    slowest = max(slowest, _slowest_of(bench, endpoint, [b"die", *(40 * [b"x"])]))

    assert slowest < SHADOW_SECONDS, "a request that waited for its copy would have taken at least as long"
    wait_until(lambda: _count(bench, endpoint, "Shadow", "Invocation5XXErrors") > 0)
    assert _count(bench, endpoint, "AllTraffic") == 47
    assert _count(bench, endpoint, "AllTraffic", "Invocation5XXErrors") == 0
    wait_until(lambda: "ended with status 9; it is replaced" in "\n".join(bench.log(endpoint)))


def _slowest_of(bench: Workbench, endpoint: str, bodies: list[bytes]) -> float:
    slowest = 0.0
    for body in bodies:
        started = time.perf_counter()
        assert bench.invoke(endpoint, body)["version"] == "production"
        slowest = max(slowest, time.perf_counter() - started)
    return slowest


@pytest.mark.parametrize(
    ("production", "shadows", "why"),
    [
        (["a", "b"], [{"VariantName": "s"}], "given were 2 and 1"),
        (["a"], [{"VariantName": "s"}, {"VariantName": "t"}], "given were 1 and 2"),
        (["a"], [{"VariantName": "a"}], 'The variant name "a" was non-unique'),
        (["a"], [{"VariantName": "s", "InstanceType": "ml.inf1.xlarge"}], "do not go with InstanceType ml.inf1.xlarge"),
        (["a"], [{"VariantName": "s", "ModelName": "none"}], "Could not find model"),
    ],
)
def test_a_configuration_that_aws_does_not_allow_with_a_shadow_is_refused(
    bench: Workbench, production: list[str], shadows: list[dict[str, Any]], why: str
) -> None:
    model = bench.model()
    rows = [{"VariantName": name, "ModelName": model} for name in production]
    with pytest.raises(ClientError) as refused:
        bench.config(*rows, ShadowProductionVariants=[variant_row(**{"ModelName": model, **row}) for row in shadows])

    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert why in refused.value.response["Error"]["Message"]


def test_copies_that_pile_up_are_not_made_any_more_and_the_log_says_so_once() -> None:
    told: list[str] = []

    async def pile_up() -> int:
        started, end = 0, asyncio.Event()

        async def copy() -> None:
            nonlocal started
            started += 1
            await end.wait()

        copies = Copies(told.append)
        for _ in range(MOST_COPIES + 50):
            copies.start(copy, 1)
        await asyncio.sleep(0)
        end.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        copies.start(copy, 1)
        await asyncio.sleep(0)
        return started

    assert asyncio.run(pile_up()) == MOST_COPIES + 1
    assert told == [f"shadow: 1 requests were not copied: {MOST_COPIES} have no answer yet"]


@pytest.mark.parametrize(("weights", "share"), [((1.0, 0.25), 0.25), ((2.0, 1.0), 0.5), ((1.0, 3.0), 1), ((1, 0), 0)])
def test_the_share_that_is_copied_is_the_ratio_of_the_weights(weights: tuple[float, float], share: float) -> None:
    copied = sum(is_copied(*weights) for _ in range(4000)) / 4000

    assert abs(copied - share) < 0.035  # 4.4 standard deviations at most
