"""The server's own view of S3, of CloudWatch Logs and of CloudWatch: in one process, no server needed."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from localaws.core import Core
from localaws.credentials import Credentials
from localaws.errors import NoSuchBucket, NoSuchKey, NoSuchRole
from localaws.metrics import MetricName
from localaws.settings import Settings

ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Core:
    from localaws.s3.backend import install_backend

    home = tmp_path_factory.mktemp("core")
    install_backend(home / "objects", "us-east-1")
    from moto.s3.models import s3_backends

    s3_backends.clear()  # another test of this process may have made moto's own
    backend = s3_backends[ACCOUNT]["aws"]
    backend.create_bucket("inside", "us-east-1")
    return Core(Settings(home))


class SlowlyDisposed:
    """Disposal of a key that pauses after its content is removed and before the key is replaced."""

    def __init__(self, key: Any) -> None:
        self.content_is_gone = threading.Event()
        self.may_end = threading.Event()
        self._dispose = key.dispose
        key.dispose = self

    def __call__(self, garbage: bool = False) -> None:
        self._dispose(garbage)
        self.content_is_gone.set()
        assert self.may_end.wait(60)


def test_a_download_in_the_middle_of_a_replacement_gets_the_new_object(core: Core, tmp_path: Path) -> None:
    from localaws.s3.backend import StoredKey

    backend = core.objects._backend()
    disposal = SlowlyDisposed(backend.put_object("inside", "half", StoredKey.store.write([b"0" * 100_000])))
    new = StoredKey.store.write([b"1" * 100_000])
    writer = threading.Thread(target=backend.put_object, args=("inside", "half", new))
    writer.start()
    assert disposal.content_is_gone.wait(60)
    reader = threading.Thread(target=core.objects.download, args=("inside", "half", tmp_path / "down"))
    reader.start()
    reader.join(0.2)
    assert reader.is_alive(), "nothing to read yet: the reader waits"
    disposal.may_end.set()
    writer.join(60)
    reader.join(60)
    assert (tmp_path / "down").read_bytes() == b"1" * 100_000


def test_a_file_goes_up_and_comes_down_unchanged(core: Core, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "up").write_bytes(content)
    core.objects.upload(tmp_path / "up", "inside", "folder/file")
    core.objects.download("inside", "folder/file", tmp_path / "new" / "down")
    assert (tmp_path / "new" / "down").read_bytes() == content
    assert core.objects.exists("inside", "folder/file")
    assert not core.objects.exists("inside", "folder")


def test_more_than_a_thousand_objects_are_listed_in_key_order(core: Core, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"12345")
    for number in range(1200):
        core.objects.upload(tmp_path / "small", "inside", f"many/{number:04d}")
    listed = core.objects.list("inside", "many/")
    assert [item.key for item in listed] == [f"many/{number:04d}" for number in range(1200)]
    assert {(item.size_bytes, item.etag) for item in listed} == {(5, "827ccb0eea8a706c4c34a16891f84e7b")}
    assert core.objects.list("inside", "none/") == []


def test_listing_versions_copies_no_content(core: Core, tmp_path: Path) -> None:
    from moto.s3.models import s3_backends

    (tmp_path / "large").write_bytes(b"0" * 100_000)
    core.objects.upload(tmp_path / "large", "inside", "versions/large")
    backend = s3_backends[ACCOUNT]["aws"]
    (listed,) = backend.list_object_versions("inside", prefix="versions/")[0]
    assert listed is backend.get_object("inside", "versions/large")


def test_what_is_missing_is_named(core: Core, tmp_path: Path) -> None:
    with pytest.raises(NoSuchKey, match="s3://inside/absent"):
        core.objects.download("inside", "absent", tmp_path / "x")
    assert not list(tmp_path.iterdir())
    for call in (lambda: core.objects.list("nowhere", ""), lambda: core.objects.exists("nowhere", "k")):
        with pytest.raises(NoSuchBucket, match="does not exist: nowhere"):
            call()
    with pytest.raises(NoSuchRole, match="role/nobody cannot be found"):
        Credentials(core.settings).for_role(f"arn:aws:iam::{ACCOUNT}:role/nobody", "x", "lambda.amazonaws.com")


def test_lines_of_many_writers_keep_each_writers_order(core: Core) -> None:
    def write(writer: int) -> None:
        for number in range(200):
            core.logs.write("/group", f"stream-{writer}", [f"{writer} {number}"])
            core.logs.write("/group", "shared", [f"{writer} {number}"])

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert core.logs.flush()
    from moto.logs.models import logs_backends

    group = logs_backends[ACCOUNT]["us-east-1"].groups["/group"]
    messages = {name: [event.message for event in stream.events] for name, stream in group.streams.items()}
    for writer in range(4):
        assert messages[f"stream-{writer}"] == [f"{writer} {number}" for number in range(200)]
        mine = [message for message in messages["shared"] if message.startswith(f"{writer} ")]
        assert mine == messages[f"stream-{writer}"]


def test_writing_a_line_does_not_wait_for_cloudwatch(core: Core) -> None:
    before = time.perf_counter()
    for number in range(1000):
        core.logs.write("/fast", "stream", [f"line {number}"])
    assert (time.perf_counter() - before) / 1000 < 0.001
    assert core.logs.flush()


def test_observations_become_statistics_of_their_metric(core: Core) -> None:
    now = time.time()
    for value in (1.0, 2.0, 6.0):
        core.metrics.put("space", "Latency", value, {"EndpointName": "e"}, unit="Microseconds", timestamp=now)
    core.metrics.put("space", "Latency", 100.0, {"EndpointName": "other"}, timestamp=now)

    found = core.metrics.window(MetricName.of("space", "Latency", {"EndpointName": "e"}), now - 60, now + 60)
    assert found is not None
    assert (found.total, found.count, found.minimum, found.maximum, found.value("Average")) == (9, 3, 1, 6, 3)
