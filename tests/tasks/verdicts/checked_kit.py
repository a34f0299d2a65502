"""Deploys what a checked load test needs: an endpoint whose instances have a limited capacity, behind a function."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.records import EndpointRef, FunctionRef
from tasks.run.settings import Settings
from tests.keys import OWN_SIGNER
from tests.localaws.functions.functions_kit import Functions
from tests.localaws.sagemaker.endpoints.endpoint_models import workbench
from tests.localaws.scaled_server import ScaledServer, scaled_server

TYPE = "ml.m5.large"
RUN_ID = "checked-1"
SCALE = 60
FRONT = (
    OWN_SIGNER
    + """
import base64, http.client, os
from urllib.parse import urlsplit

PARTS = urlsplit(os.environ["AWS_ENDPOINT_URL"])
PATH = "/endpoints/" + os.environ["ENDPOINT_NAME"] + "/invocations"
TYPE = {"Content-Type": "application/octet-stream"}
kept = []

def handler(event, context):
    fresh = not kept
    if fresh:
        kept.append(http.client.HTTPConnection(PARTS.hostname, PARTS.port, timeout=30))
    try:
        image = base64.b64decode(event["image"])
        kept[0].request("POST", PATH, image, signed_by_environment("sagemaker", PATH, image, TYPE))
        answer = kept[0].getresponse()
        return {"statusCode": answer.status, "body": answer.read().decode()}
    except (OSError, http.client.HTTPException):
        kept.pop().close()
        if fresh:
            raise
        return handler(event, context)
"""
)
"""Like the deployed function, it replaces a kept-alive connection once when the server has dropped it."""


@dataclass(frozen=True)
class Deployed:
    """The run and the deployment that a checked load test uses."""

    server: ScaledServer
    run: Run
    endpoint: EndpointRef
    function: FunctionRef

    @property
    def aws(self) -> Aws:
        return self.run.aws


@contextmanager
def marked_as_ours() -> Iterator[None]:
    """Count processes started inside the block as kennel's own, like those that `kennel up` starts."""
    kept = os.environ.get("KENNEL_OWNER")
    os.environ["KENNEL_OWNER"] = kept or "tests"  # its own processes carry the same
    try:
        yield
    finally:
        if kept is None:
            del os.environ["KENNEL_OWNER"]


@contextmanager
def deployed(folder: Path, *arguments: str) -> Iterator[Deployed]:
    """Run a separate localaws at time scale 60 with an endpoint and a function; `arguments` go to the server."""
    with marked_as_ours(), scaled_server(*arguments, scale=SCALE) as server, workbench(server.localaws) as bench:
        name, functions = bench.endpoint(bench.model()), Functions.of(server.localaws)
        front = functions.make(FRONT, Environment={"Variables": {"ENDPOINT_NAME": name}}, MemorySize=256)
        version = functions.aws.publish_version(FunctionName=front)["Version"]
        functions.aws.create_alias(FunctionName=front, Name="live", FunctionVersion=version)
        clock = server.clock()
        settings = Settings.load(
            endpoint_url=server.localaws.url,
            region="us-east-1",
            runs=folder / "runs",
            home=folder / "home",
            time_scale=clock["scale"],
            clock_origin=clock["origin"],
        )
        arn = "arn:aws:{}:us-east-1:123456789012:{}"
        run = Run(Aws(settings), RUN_ID)
        run.folder.mkdir(parents=True)
        yield Deployed(
            server,
            run,
            EndpointRef(
                name, arn.format("sagemaker", f"endpoint/{name}"), "c", "m", "AllTraffic", TYPE, 1, "s3://b/k", 1.0
            ),
            FunctionRef(front, arn.format("lambda", f"function:{front}"), version, "live", "a", "r", "ra", "s", name),
        )
