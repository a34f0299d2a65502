"""A function behind its alias on a fast clock, new versions for it, and callers that ask it."""

import json
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.account.bucket import ensure_bucket
from tasks.account.objects import put_object
from tasks.account.role_policies import function_role
from tasks.account.roles import ensure_role
from tasks.model.code import build_lambda_zip
from tasks.promotion.canary import shift_by_weight
from tasks.promotion.guards import Limits
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.options import DeployOptions
from tasks.run.records import DatasetRef, FunctionRef
from tasks.serving.function import FunctionPlan, ensure_function
from tests.localaws.scaled_server import ScaledServer
from tests.tasks.promotion.shadow_scene import CLASSES, shard

SCALE = 30
WEIGHT = 0.4
OPTIONS = DeployOptions(canary=WEIGHT, canary_minutes=2)  # four real seconds
ROOMY = Limits(slower=100.0)
CODE = """
import json, random, time
def handler(event, context):
    FIRST
    scores = [0.7, 0.1, 0.1, 0.1]
    return {"statusCode": 200, "body": json.dumps({"labels": LABELS, "scores": scores}), "made": MADE}
"""


def code(first: str = "pass") -> str:
    """Return a function that classifies, after a statement; its code is like that of no other."""
    changed = CODE.replace("FIRST", first).replace("LABELS", repr(list(CLASSES)))
    return changed.replace("MADE", repr(secrets.token_hex(4)))


@dataclass(frozen=True)
class FunctionScene:
    """A run that has a function."""

    run: Run
    folder: Path

    def deploy(self, source: str, options: DeployOptions = OPTIONS, limits: Limits = ROOMY) -> FunctionRef:
        """Deploy the source by weight."""
        return ensure_function(
            self.run, self.plan(source), lambda run, shift: shift_by_weight(run, shift, options, limits)
        )

    def plan(self, source: str) -> FunctionPlan:
        folder = self.folder / secrets.token_hex(4)
        folder.mkdir()
        (folder / "handler.py").write_text(source)
        role = function_role(self.run.aws, self.run.id, "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e", "/aws/f")
        archive = self.folder / f"{folder.name}.zip"
        digest = build_lambda_zip(archive, folder)
        return FunctionPlan(self.run.id, "e", role.name, ensure_role(self.run, role), archive, digest)

    def alias(self) -> tuple[str, dict[str, float]]:
        """Return what the alias leads to: its version, and the shares of others."""
        name = self.run.need(FunctionRef).name
        found = self.run.aws.client("lambda").get_alias(FunctionName=name, Name="live")
        return found["FunctionVersion"], (found.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}

    def alarms(self) -> list[str]:
        return [row.name for row in self.run.ledger.live() if row.kind == "alarm"]


@contextmanager
def function_scene(server: ScaledServer, folder: Path) -> Iterator[FunctionScene]:
    """Yield the scene with a first version; its server ends with everything in it."""
    run = Run(Aws(server.settings(folder)), f"live-{secrets.token_hex(3)}")
    bucket, data = ensure_bucket(run), "datasets/photos"
    put_object(run.aws, bucket, f"{data}/test/shard-00000.tar", shard(), content_type="application/x-tar")
    counts = {split: dict.fromkeys(CLASSES, 16) for split in ("train", "test")}
    run.keep(DatasetRef(bucket, data, "d" * 64, "photos", CLASSES, counts, 64, 0, "sample"))
    scene = FunctionScene(run, folder)
    run.keep(scene.deploy(code()))
    yield scene


@dataclass
class Asked:
    """Which versions answered callers, those that raised, and calls that Lambda itself refused."""

    versions: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)


@contextmanager
def asking(run: Run, pause_seconds: float = 0.02) -> Iterator[Asked]:
    """Call the function through its alias until the block ends."""
    seen, ended, client = Asked(), threading.Event(), run.aws.client("lambda")
    name = run.need(FunctionRef).name

    def ask() -> None:
        while not ended.wait(pause_seconds):
            try:
                answer: Any = client.invoke(FunctionName=name, Qualifier="live", Payload=json.dumps({"photo": 1}))
                answer["Payload"].read()
            except Exception as error:  # noqa: BLE001 any failure of a request is what the test asks about
                seen.refused.append(str(error))
                continue
            (seen.raised if answer.get("FunctionError") else seen.versions)[answer["ExecutedVersion"]] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(60.0)
