"""Our own serving image, without Docker: the files that its Dockerfile copies, started as SageMaker starts them."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tasks.load.locust_process import free_port
from tasks.model.code import tree_digest
from tests.conftest import ROOT
from tests.polling import wait_until
from tests.test_architecture import imported_modules, top
from tests.training.datasets import CLASSES, Trained, picture
from training.serve import CODE, SOURCES

IMAGE = ROOT / "tasks" / "serving" / "image"
TEXT = (IMAGE / "Dockerfile").read_text().replace("\\\n", " ")
STEPS = [(word, rest) for word, _, rest in (line.partition(" ") for line in TEXT.splitlines()) if word.isupper()]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's file tree, without its base image and its packages."""
    folder = tmp_path_factory.mktemp("image")
    for word, rest in STEPS:
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                _copy(ROOT / source, folder / target.lstrip("/"), into=target.endswith("/"))
    return folder


def _copy(source: Path, target: Path, *, into: bool) -> None:
    target = target / source.name if into else target
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target)


def variables() -> dict[str, str]:
    pairs = (pair for word, rest in STEPS if word == "ENV" for pair in rest.split())
    return dict(pair.split("=", 1) for pair in pairs)


def command() -> list[str]:
    """The entry point with the argument that SageMaker gives, for the Python of this environment."""
    (entry,) = (json.loads(rest) for word, rest in STEPS if word == "ENTRYPOINT")
    assert entry[0] == "python"
    return [sys.executable, *entry[1:], "serve"]


@pytest.fixture
def server(root: Path, trained: Trained) -> Iterator[int]:
    """The port of a server that was started; it is ended afterwards."""
    port = free_port()
    here = {
        "PYTHONPATH": str(root / "opt/server"),
        "SM_MODEL_DIR": str(trained.folder),
        "MODEL_SERVER_HOST": "127.0.0.1",
    }
    env = {**variables(), **here, "SAGEMAKER_BIND_TO_PORT": str(port), "PATH": os.environ["PATH"]}
    process = subprocess.Popen(command(), cwd=root / "opt/server", env=env)
    try:
        yield port
    finally:
        process.terminate()
        assert process.wait(30) in {0, -signal.SIGTERM}


def ask(port: int, method: str, path: str, body: bytes = b"", kind: str = "image/jpeg") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, body or None, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()


def answers(port: int) -> bool:
    try:
        return ask(port, "GET", "/ping")[0] == 200
    except OSError:
        return False


def test_the_images_command_serves_a_trained_model(server: int) -> None:
    wait_until(lambda: answers(server), "the image's server", 60)
    status, body = ask(server, "POST", "/invocations", picture("moss", 7))
    assert (status, json.loads(body)["top5"][0]["label"]) == (200, "moss")
    assert set(json.loads(body)["labels"]) == set(CLASSES)
    assert ask(server, "POST", "/invocations", b"{}", "application/json")[0] == 415


def test_an_instance_is_not_healthy_before_its_model_is_loaded(root: Path, tmp_path: Path) -> None:
    """A model that cannot be loaded ends the container, which SageMaker reports; /ping is never answered."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text("def model_fn(folder): raise RuntimeError('no such graph')\n")
    here = {"PYTHONPATH": str(root / "opt/server"), "SM_MODEL_DIR": str(tmp_path), "MODEL_SERVER_HOST": "127.0.0.1"}
    env = {**variables(), **here, "SAGEMAKER_BIND_TO_PORT": str(free_port()), "PATH": os.environ["PATH"]}
    done = subprocess.run(command(), cwd=root, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no such graph" in done.stdout


def test_the_server_of_the_image_is_the_one_that_every_local_run_uses(root: Path) -> None:
    served = root / "opt/server/localaws/sagemaker/model_server"
    assert tree_digest(served) == tree_digest(ROOT / "localaws/sagemaker/model_server")


def test_the_image_has_all_packages_that_its_code_imports_and_installs_none_at_start(root: Path) -> None:
    locks = "".join((IMAGE / name).read_text() for name in ("model.txt", "server.txt"))
    packages = {line.partition("==")[0].replace("-", "_") for line in locks.splitlines() if "==" in line}
    known = packages | {"PIL", "localaws", "graphs", "preprocess", "pictures", "training", "sagemaker_inference"}
    files = [*(root / "opt/server").rglob("*.py"), *(ROOT / "training" / SOURCES.get(name, name) for name in CODE)]
    needed = {top(name) for file in files for name in imported_modules(file)}
    assert needed - known - set(sys.stdlib_module_names) == set()
    assert not any("pip" in part for part in command())


def test_everything_that_is_installed_is_pinned_and_checked() -> None:
    (install,) = (rest for word, rest in STEPS if word == "RUN")
    assert "--require-hashes" in install
    assert set(re.findall(r"-r (\S+)", install)) == {"/opt/requirements/model.txt", "/opt/requirements/server.txt"}
