"""A live endpoint of a tiny model on a fast clock, challengers for it in the registry, and callers that ask it."""

import io
import json
import secrets
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.account.bucket import ensure_bucket
from tasks.account.objects import list_objects, put_object
from tasks.account.role_policies import captured_prefix
from tasks.promotion.promote import find_release
from tasks.promotion.shadow import ShadowPhase
from tasks.registry.packages import ListedPackage, ModelVersion, describe_package
from tasks.registry.register import register_model
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.options import DeployOptions, Network
from tasks.run.records import DatasetRef, EndpointRef, TrainedModel
from tasks.serving.deployment import describe_endpoint, ensure_endpoint_role
from tasks.serving.endpoint import ensure_endpoint
from tasks.serving.releases import Release
from tests.localaws.sagemaker.endpoints.endpoint_models import pack
from tests.localaws.scaled_server import ScaledServer
from tests.tasks.run.test_records import TRAINED

CLASSES = ("ant", "bee", "cat", "dog")
PHOTOS = [b"photo %d" % number for number in range(64)]
PAUSE_SECONDS = 0.01
CODE = """
def model_fn(model_dir):
    return "NAME"
def input_fn(data, content_type):
    return data
def predict_fn(data, model):
    right = int(data.split()[1]) % 4
    return {"labels": LABELS, "scores": [0.7 if n == right else 0.1 for n in range(4)], "model": model}
def output_fn(prediction, accept):
    import json
    return json.dumps(prediction), "application/json"
"""
NEVER_LOADS = "def model_fn(model_dir):\n    raise RuntimeError('this model never loads')\n"


def code(name: str, labels: tuple[str, ...] = CLASSES) -> str:
    """Return a model that knows the class of each photo by its number, and calls the classes so."""
    return CODE.replace("NAME", name).replace("LABELS", repr(list(labels)))


@dataclass(frozen=True)
class Scene:
    """A run whose endpoint serves its own model, named "champion" in its answers."""

    run: Run

    def challenger(self, source: str) -> Release:
        """Return the version that a run of this model registers."""
        group = self.run.need(ModelVersion).group.removeprefix("kennel-")
        run = _trained(self.run.aws, f"chal-{secrets.token_hex(3)}", group, source)
        register_model(run)
        return find_release(self.run, run.id, "better by the gate")

    def package(self, wanted: Release) -> ListedPackage:
        found = describe_package(self.run.aws, wanted.package)
        assert found is not None
        return found

    def described(self) -> dict[str, Any]:
        name = self.run.need(EndpointRef).name
        found: dict[str, Any] = self.run.aws.client("sagemaker").describe_endpoint(EndpointName=name)
        return found

    def is_as_before(self) -> bool:
        """Tell whether the endpoint has its own configuration, without a shadow, and nothing is kept of requests."""
        now, own = self.described(), self.run.need(EndpointRef)
        kept = list_objects(self.run.aws, self.run.aws.bucket, f"{captured_prefix(self.run.id)}/")
        phase = self.run.find(ShadowPhase)
        serves_own = (now["EndpointStatus"], now["EndpointConfigName"]) == ("InService", own.config_name)
        return serves_own and not now.get("ShadowProductionVariants") and not kept and (phase is None or phase.is_over)


@contextmanager
def scene(server: ScaledServer, folder: Path) -> Iterator[Scene]:
    """Yield the scene; its server ends with everything in it."""
    run = _trained(
        Aws(server.settings(folder)), f"live-{secrets.token_hex(3)}", f"live {secrets.token_hex(3)}", code("champion")
    )
    register_model(run)
    plan = describe_endpoint(run, DeployOptions(), Network(), run.need(TrainedModel))
    run.keep(ensure_endpoint(run, replace(plan, role_arn=ensure_endpoint_role(run, plan))))
    yield Scene(run)


def _trained(aws: Aws, run_id: str, name: str, source: str) -> Run:
    run = Run(aws, run_id)
    bucket, key, data = ensure_bucket(run), f"runs/{run_id}/output/j/output/model.tar.gz", "datasets/photos"
    put_object(aws, bucket, key, pack({"code/inference.py": source}), content_type="application/gzip")
    put_object(aws, bucket, f"{data}/test/shard-00000.tar", shard(), content_type="application/x-tar")
    counts = {split: dict.fromkeys(CLASSES, 16) for split in ("train", "test")}
    run.keep(DatasetRef(bucket, data, "d" * 64, name, CLASSES, counts, 64, 0, "sample"))
    uri = f"s3://{bucket}/{key}"
    run.keep(replace(TRAINED, job_name="j", model_uri=uri, data_digest="d" * 64, test_accuracy=0.75, test_images=4))
    return run


def shard() -> bytes:
    """Return a shard of the test split with the photos."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number, photo in enumerate(PHOTOS):
            member = tarfile.TarInfo(f"{number % 4:05d}/{number:08d}.jpg")
            member.size = len(photo)
            tar.addfile(member, io.BytesIO(photo))
    return buffer.getvalue()


@dataclass
class Callers:
    """What callers were answered: the names of the models, and errors."""

    models: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextmanager
def callers(run: Run, photos: list[bytes]) -> Iterator[Callers]:
    """Ask the endpoint about one photo after another until the block ends."""
    seen, ended, client = Callers(), threading.Event(), run.aws.client("sagemaker-runtime")

    def ask() -> None:
        number = 0
        while not ended.wait(PAUSE_SECONDS):
            try:
                body = photos[number % len(photos)]
                answer = client.invoke_endpoint(EndpointName=run.need(EndpointRef).name, Body=body)
                seen.models.append(json.loads(answer["Body"].read())["model"])
            except Exception as error:  # noqa: BLE001 any failure of a request is what the test asks about
                seen.errors.append(str(error))
            number += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(60.0)
