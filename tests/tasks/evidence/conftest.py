"""A run whose resources are those of the console's scene, on a server of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from localaws.record import read_record
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef
from tasks.run.settings import Settings
from tests.conftest import running_localaws
from tests.localaws.console.scene import Scene, make_scene


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with running_localaws("--time-scale", "60") as server:
        yield make_scene(server)


@pytest.fixture
def make_run(scene: Scene, tmp_path: Path) -> Callable[[], Run]:
    """What makes a run that has made everything of the scene; it may be used once a test."""

    def make(*, has_console: bool = True, url: str = scene.server.url) -> Run:
        record = read_record(scene.server.home)
        assert record is not None
        token = SecretStr(record.console_token) if has_console else None
        settings = Settings(endpoint_url=url, runs=tmp_path / "runs", region="us-east-1", console_token=token)
        run = Run(Aws(settings), "dogs-1a2b3c4d")
        run.keep(
            DatasetRef(scene.bucket, "folder", "d", "dogs", ("x", "y"), {"test": {"x": 1, "y": 1}}, 9, 0, "dogs.zip")
        )
        run.keep(EndpointRef(scene.endpoint, "arn", "c", "m", "AllTraffic", "ml.m5.large", 1, "s3://b/m", 1.0, "2026"))
        name = scene.function
        run.keep(FunctionRef(name, "arn", "1", "live", "arn:live", "role", scene.role, "00", scene.endpoint))
        rows = {
            ("bucket", scene.bucket): None,
            ("instance", "kennel-dogs-1"): scene.instance,
            ("notebook-instance", "scene"): None,
            ("endpoint", scene.endpoint): None,
            ("scalable-target", f"endpoint/{scene.endpoint}/variant/AllTraffic"): None,
            ("function", name): None,
            ("function-alias", f"{name}:live"): None,
            ("provisioned-concurrency", f"{name}:live"): None,
            ("training-job", scene.job): None,
            ("role", scene.role.rpartition("/")[2]): None,
        }
        for (kind, called), identifier in rows.items():
            run.ledger.record(kind, called, "created", identifier=identifier)
        return run

    return make
