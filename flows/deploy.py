"""Deploys a trained model: roles, endpoint, function with version and alias, then one test call through the alias.

prefect deployment run 'deploy/deploy' -p run_id=dogs-1a2b3c4d -p deploy='{"instances": 2}'
"""

from __future__ import annotations

from dataclasses import dataclass

from prefect import flow

from flows.harmless import harmless_errors
from flows.run_name import named, named_run
from flows.step import step
from flows.train_sagemaker import look_at_network
from tasks.account.container_images import require_images
from tasks.model.code import build_lambda_zip
from tasks.promotion import canary, shadow
from tasks.registry.register import approve_deployed
from tasks.run.artifacts import publish_record
from tasks.run.handle import Run
from tasks.run.naming import RunId
from tasks.run.options import DeployOptions, Network
from tasks.run.records import EndpointRef, FunctionRef
from tasks.serving import deployment
from tasks.serving.function import Shift
from tasks.serving.smoke import SmokeResult
from tasks.teardown.rebuild import working_on

STAGE = "deploy"

settle_shadow = step("earlier copies")(shadow.settle_shadow)
settle_canary = step("earlier canary")(canary.settle_canary)
deploy_endpoint = step("endpoint")(deployment.deploy_endpoint)
try_function = step("smoke test")(deployment.try_function)
approve = step("approve")(approve_deployed)


@dataclass(frozen=True)
class Deployment:
    """A live endpoint, the function in front of it, and the function's answer to the test call."""

    endpoint: EndpointRef
    function: FunctionRef
    smoke: SmokeResult


@flow(name=STAGE, flow_run_name=named(STAGE, named_run))
@harmless_errors
async def deploy(run_id: RunId, deploy: DeployOptions = DeployOptions(), network: Network = Network()) -> Deployment:
    """Deploy the run's trained model to its endpoint and function, and test them with a photo of the test split.

    Args:
        run_id: The run whose model is deployed.
        deploy: The endpoint, the hosts from which the function may fetch photos, and how a new version goes live.
        network: The VPC that endpoint and function are in, if it is yours.

    Raises:
        SettingsRefused: the run has no trained model, AWS has no images in this region, or the network is not fit.
        StageFailed: endpoint or function failed, AWS rolled back, an alarm took the function's new version back, or
            the smoke test's answer has the wrong form.
        WaitTimedOut: endpoint or function did not settle within their deadlines.
        AwsFailed: AWS refused.
    """
    run = Run.load(run_id)
    require_images(run.settings)
    with working_on(run, STAGE):
        await look_at_network(run.aws, network)
        await settle_shadow(run)
        await settle_canary(run)
        endpoint = await deploy_endpoint(run, deploy, network)
        run.keep(endpoint)
        function = await deploy_function(run, endpoint, deploy, network)
        run.keep(function)
        smoke = await try_function(run, function)
        run.keep(smoke)
        await approve(run, endpoint.name)
        made = Deployment(endpoint, function, smoke)
        await publish_record(STAGE, run_id, made)
    return made


@step("function")
def deploy_function(run: Run, endpoint: EndpointRef, deploy: DeployOptions, network: Network) -> FunctionRef:
    """Package the function's code, and create or adopt its role, version and alias; a new version goes live by weight.

    Raises:
        StageFailed: the function failed, or an alarm took its new version back.
        WaitTimedOut: the function did not settle in time.
        AwsFailed: IAM or Lambda refused.
    """
    path = run.folder / "classify.zip"
    digest = build_lambda_zip(path)

    def go_live(run: Run, shift: Shift) -> None:
        canary.shift_by_weight(run, shift, deploy)

    return deployment.deploy_function(run, endpoint, deploy, network, zip_path=path, zip_sha256=digest, go_live=go_live)
