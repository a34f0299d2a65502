"""A model for AWS's inference image carries its packages, checked, and no index is asked at an instance's start."""

import dataclasses
import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from localaws.sagemaker.model_server.handlers import HandlersRefused, check_requirements
from tasks.account.bucket import ensure_bucket
from tasks.account.objects import fetch_object, put_object
from tasks.run.aws import Aws
from tasks.run.errors import StageFailed
from tasks.run.handle import Run
from tasks.run.settings import EMBEDDED_AWS, REAL_AWS, Settings
from tasks.serving.packaging import LOCK, REQUIREMENTS, add_wheels, fetch_wheels, serving_archive
from tests.conftest import ROOT
from tests.counting_proxy import Calls
from tests.http_server import serving
from tests.localaws.sagemaker.endpoints.endpoint_models import pack
from tests.tasks.run.test_records import TRAINED

NAME = "kennelprobe-1.0-py3-none-any.whl"
OWN_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/kennel-serving:1"


def wheel(path: Path) -> bytes:
    """Write a wheel of one module and return its bytes."""
    info = "kennelprobe-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("kennelprobe.py", "ANSWER = 42\n")
        made.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: kennelprobe\nVersion: 1.0\n")
        made.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(f"{info}/RECORD", "")
    return path.read_bytes()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an index on loopback that has one package, with a lock for it beside it."""
    folder = tmp_path / "index" / "kennelprobe"
    folder.mkdir(parents=True)
    content = wheel(folder / NAME)
    (folder / "index.html").write_text(f'<a href="{NAME}">{NAME}</a>')
    digest = hashlib.sha256(content).hexdigest()
    (tmp_path / "lock.txt").write_text(f"# one\nkennelprobe==1.0 --hash=sha256:{digest}\n")

    class Index(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder.parent))

    with serving(Index) as url:
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", url)
        yield folder


def test_wheels_are_downloaded_once_and_again_when_one_is_damaged(index: Path, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    (found,) = fetch_wheels(tmp_path / "home", lock)
    assert found.read_bytes() == (index / NAME).read_bytes()
    hidden = index.rename(index.with_name("gone"))
    assert fetch_wheels(tmp_path / "home", lock) == (found,)
    hidden.rename(index)
    found.write_bytes(b"cut")
    assert fetch_wheels(tmp_path / "home", lock) == (found,)
    assert found.read_bytes() == (index / NAME).read_bytes()


def test_a_wheel_with_another_sha256_than_the_locks_is_refused(index: Path, tmp_path: Path) -> None:
    with (index / NAME).open("ab") as file:
        file.write(b"x")
    with pytest.raises(StageFailed, match="could not be downloaded") as refused:
        fetch_wheels(tmp_path / "home", tmp_path / "lock.txt")
    assert "HASHES" in str(refused.value).upper()


def test_pip_installs_the_packages_of_the_archive_without_an_index(index: Path, tmp_path: Path) -> None:
    """What AWS's image does at an instance's start, with /opt/ml/model where the archive was unpacked."""
    lock, trained, packed = tmp_path / "lock.txt", tmp_path / "trained.tar.gz", tmp_path / "packed.tar.gz"
    files = {"code/inference.py": "pass", "graph.bin": "g", "model.safetensors": "w", REQUIREMENTS: "openvino>=1"}
    trained.write_bytes(pack(files))
    add_wheels(trained, fetch_wheels(tmp_path / "home", lock), packed, lock)
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "model", filter="data")
    unpacked = {str(path.relative_to(tmp_path / "model")) for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert unpacked == {"code/inference.py", "graph.bin", REQUIREMENTS, f"code/wheels/{NAME}"}

    requirements = tmp_path / "model" / REQUIREMENTS
    requirements.write_text(requirements.read_text().replace("/opt/ml/model", str(tmp_path / "model")))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tmp_path / "site")]
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:1/none", "PATH": "/usr/bin:/bin", "PIP_CONFIG_FILE": "/dev/null"}
    subprocess.run([*command, "-r", str(requirements)], check=True, env=nowhere, timeout=120)
    assert (tmp_path / "site" / "kennelprobe.py").is_file()


@pytest.mark.parametrize("name", ["model.txt", "server.txt"])
def test_each_package_is_the_one_of_the_projects_lock(name: str) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    lines = [line for line in LOCK.with_name(name).read_text().splitlines() if not line.startswith("#")]
    assert lines
    for line in lines:
        requirement, _, digest = line.partition(" --hash=")
        block = re.search(rf"^{re.escape(requirement)} \\\n((?:    --hash=\S+(?: \\)?\n)+)", lock, re.MULTILINE)
        assert block is not None, f"requirements.lock has another version than {requirement}"
        assert digest in block[1], f"requirements.lock does not know the wheel of {requirement}"


def test_an_endpoint_on_aws_serves_the_archive_with_the_packages_which_is_made_once(
    index: Path, calls: Calls, tmp_path: Path
) -> None:
    run = Run(Aws(Settings(endpoint_url=calls.url, runs=tmp_path / "runs", home=tmp_path / "home")), "packed")
    key = "runs/packed/output/model.tar.gz"
    model = dataclasses.replace(TRAINED, model_uri=f"s3://{ensure_bucket(run)}/{key}")
    put_object(run.aws, run.aws.bucket, key, pack({"graph.bin": "g", "model.safetensors": "w"}), content_type="x/y")
    run.aws.target = REAL_AWS
    made = serving_archive(run, model, tmp_path / "lock.txt")
    assert made.startswith(f"s3://{run.aws.bucket}/runs/packed/serving/")
    fetch_object(run.aws, made, tmp_path / "made.tar.gz")
    with tarfile.open(tmp_path / "made.tar.gz") as archive:
        assert set(archive.getnames()) == {"graph.bin", REQUIREMENTS, f"code/wheels/{NAME}"}
    calls.seen.clear()
    assert serving_archive(run, model, tmp_path / "lock.txt") == made
    assert calls.mutating() == []


def test_the_requirements_of_the_archive_are_met_where_nothing_is_installed(tmp_path: Path) -> None:
    """By the packages of this environment, and so of our own image: the versions are the lock's."""
    (tmp_path / "requirements.txt").write_text(f"--no-index\n--find-links x\n{LOCK.read_text()}")
    check_requirements(tmp_path)
    (tmp_path / "requirements.txt").write_text("numpy==0.1 --hash=sha256:00\n")
    with pytest.raises(HandlersRefused, match=r"requires numpy==0\.1"):
        check_requirements(tmp_path)


def test_only_awss_image_installs_anything(tmp_path: Path) -> None:
    """Locally, and with an image of one's own, the trained model itself is served."""
    model = TRAINED
    local = Settings(endpoint_url="http://127.0.0.1:1", runs=tmp_path)
    own = Settings(account_id="1" * 12, runs=tmp_path, serving_image=OWN_IMAGE)
    assert [serving_archive(Run(Aws(each), "r"), model) for each in (local, own)] == [model.model_uri] * 2
    assert (EMBEDDED_AWS.installs_requirements, REAL_AWS.installs_requirements) == (False, True)
