"""AWS's own toolkits run our entry point and load our archive: a second opinion on what localaws does in their place.

They are in an environment of their own (`make toolkits`), without Docker, TorchServe and AWS's base images.
"""

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.training.datasets import SMALL, Dataset, write_dataset
from training.imagenet import export_packaged

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = ROOT / ".toolkits" / "bin" / "python"
OPT_ML = ("train", "validation", "test", "manifest", "weights")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not PYTHON.exists(), reason="there is no .toolkits: make toolkits"),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_dataset(tmp_path_factory.mktemp("staged") / "data", train=4, validation=2, test=3)


@pytest.fixture(scope="module")
def archive(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model.tar.gz of a job that the training toolkit ran."""
    base = tmp_path_factory.mktemp("opt-ml")
    write_job(base, dataset)
    code = base.parent / "uploaded"
    shutil.copytree(ROOT / "training", code / "training", ignore=shutil.ignore_patterns("__pycache__"))
    more = {"SAGEMAKER_BASE_DIR": str(base), "PYTHONPATH": str(base / "code")}
    command = [str(PYTHON), str(HERE / "train.py"), str(code), "training/train.py"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(more), timeout=250, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    packed = base.parent / "model.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        for path in (base / "model").iterdir():
            tar.add(path, arcname=path.name)
    return packed


def environment(more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SM_", "SAGEMAKER_", "AWS_"))}
    return {**kept, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", **more}


def write_job(base: Path, dataset: Dataset) -> None:
    """Lay out /opt/ml as SageMaker does: channels and three files of configuration."""
    config, data = base / "input" / "config", base / "input" / "data"
    config.mkdir(parents=True)
    data.mkdir()
    for name in OPT_ML[:-1]:
        shutil.copytree(dataset.root / name, data / name)
    (data / "weights").mkdir()
    export_packaged(SMALL.backbone, data / "weights" / "backbone.safetensors")
    arguments = {"backbone": SMALL.backbone, "epochs": SMALL.epochs, "views": 2, "batch-size": 8, "threads": 1}
    files: dict[str, Any] = {
        "hyperparameters": {name: json.dumps(value) for name, value in arguments.items()},
        "resourceconfig": {"current_host": "localhost", "hosts": ["localhost"], "network_interface_name": "lo"},
        "inputdataconfig": {name: {"TrainingInputMode": "File"} for name in OPT_ML},
    }
    for name, content in files.items():
        (config / f"{name}.json").write_text(json.dumps(content))


def ask(archive: Path, folder: Path, body: bytes, content_type: str = "image/jpeg") -> dict[str, Any]:
    """Unpack the archive as SageMaker does, and send one request through the inference toolkit."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    more = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": str(folder / "code")}
    more |= {"PYTHONPATH": str(folder / "code"), "SAGEMAKER_BASE_DIR": str(folder)}
    command = [str(PYTHON), str(HERE / "serve.py"), str(folder), content_type]
    done = subprocess.run(command, input=body, capture_output=True, env=environment(more), timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def photo_of(dataset: Dataset) -> bytes:
    with tarfile.open(dataset.shards("test")[0]) as tar:
        file = tar.extractfile(next(member for member in tar if member.name.endswith(".jpg")))
        assert file is not None
        return file.read()


def test_the_training_toolkit_runs_our_entry_point_and_the_inference_toolkit_serves_its_model(
    archive: Path, dataset: Dataset, tmp_path: Path
) -> None:
    answer = ask(archive, tmp_path, photo_of(dataset))
    assert (answer["status"], answer["content_type"]) == (200, "application/json"), answer
    said = json.loads(answer["body"])
    assert len(said["labels"]) == 3 and sum(said["scores"]) == pytest.approx(1.0, abs=1e-3)


def test_a_body_that_is_no_photo_is_an_error_of_the_clients(archive: Path, tmp_path: Path) -> None:
    assert ask(archive, tmp_path, b"no photo")["status"] == 422
