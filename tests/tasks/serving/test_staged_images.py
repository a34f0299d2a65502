"""The images of the staged test split, from shards that are whole, empty, garbled or of somebody else's making."""

import io
import tarfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tasks.run.aws import Aws
from tasks.run.errors import MalformedAnswer, StageFailed
from tasks.run.records import DatasetRef, FunctionRef
from tasks.run.settings import Settings
from tasks.serving.asking import scores_of
from tasks.serving.smoke import smoke_test
from tasks.serving.staged_images import read_test_images
from tests.keys import for_environment
from tests.tasks.run.test_bounded_answers import server, whole

DATASET = DatasetRef("b", "datasets/d", "d", "name", ("cat", "dog"), {"test": {"cat": 1, "dog": 1}}, 1, 0, "zip")
FUNCTION = FunctionRef("f", "arn", "1", "live", "alias-arn", "role", "role-arn", "sha", "endpoint")
HEAD = "<Name>b</Name><IsTruncated>false</IsTruncated><KeyCount>{count}</KeyCount>"
LISTING = f"<ListBucketResult>{HEAD}{{shards}}</ListBucketResult>"
SHARD = "<Contents><Key>datasets/d/test/shard-{number:05d}.tar</Key><Size>1</Size><ETag>e</ETag></Contents>"


def shard(*names: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(name) if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(name.encode()))
    return buffer.getvalue()


GOOD = shard("00000/00000000.jpg", "00001/00000001.jpg")


def serving(shards: list[bytes]) -> Any:
    """Return a server that lists shards and has them."""

    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        if "list-type=2" in handler.path:
            listed = "".join(SHARD.format(number=number) for number in range(len(shards)))
            whole(handler, LISTING.format(count=len(shards), shards=listed).encode())
        else:
            whole(handler, shards[int(handler.path.partition(".tar")[0][-5:])])

    return server(answer)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in for_environment().items():
        monkeypatch.setenv(name, value)


def aws_at(url: str, folder: Path) -> Aws:
    return Aws(Settings(endpoint_url=url, home=folder, runs=folder / "runs", region="us-east-1", max_attempts=1))


def test_the_first_images_are_read_from_as_many_shards_as_needed(tmp_path: Path) -> None:
    with serving([GOOD, shard("00001/00000002.jpg"), b"never read"]) as url:
        images = read_test_images(aws_at(url, tmp_path), DATASET, count=3)
    assert [(image.name[-5], image.label) for image in images] == [("0", "cat"), ("1", "dog"), ("2", "dog")]
    assert images[0].content == b"00000/00000000.jpg"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>login</html>",
        bytes(range(256)) * 40,
        GOOD[:520],
        shard("../../etc/passwd"),
        shard("..", "00000/00000000.jpg"),
        shard("cat/photo.jpg"),
        shard("00002/00000000.jpg"),
        shard("00000/00000000.jpg", kind=tarfile.SYMTYPE),
        shard("00000/00000000.jpg", kind=tarfile.DIRTYPE),
    ],
)
def test_a_shard_that_is_not_what_was_staged_is_told_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    with serving([content]) as url, pytest.raises(MalformedAnswer, match="is not the shard that was staged") as caught:
        smoke_test(aws_at(url, tmp_path), FUNCTION, DATASET)
    assert caught.value.exit_code == 5
    assert "s3://b/datasets/d/test/shard-00000.tar" in caught.value.what
    assert "stages a damaged shard anew" in caught.value.next_command


def test_a_split_without_a_shard_fails_the_smoke_test(tmp_path: Path) -> None:
    with serving([]) as url, pytest.raises(StageFailed, match="holds no image"):
        smoke_test(aws_at(url, tmp_path), FUNCTION, DATASET)


def test_a_status_that_is_a_text_is_named_with_its_type() -> None:
    with pytest.raises(StageFailed, match="statusCode is '200', a str and not an int"):
        scores_of('{"statusCode": "200", "body": "{}"}', ("cat",), "smoke test")
