"""Tests of serving a saved model: responses, invalid requests, tampered model files, and no need for torch."""

import io
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.training.datasets import CLASSES, DIGEST, Trained, copy_serving_code, picture
from training.graphs import checksum_of
from training.pictures import DEFAULT_LIMITS
from training.preprocess import load_for_evaluation
from training.serve import BadInput, BadModel, Predictor, input_fn, model_fn, output_fn, predict_fn


@pytest.fixture(scope="module")
def predictor(trained: Trained) -> Predictor:
    return model_fn(str(trained.folder))


def ask(predictor: Predictor, data: bytes, content_type: str = "image/jpeg") -> dict[str, Any]:
    body, content = output_fn(predict_fn(input_fn(data, content_type), predictor), "application/json")
    assert content == "application/json"
    answer: dict[str, Any] = json.loads(body)
    return answer


@pytest.mark.parametrize("label", CLASSES)
def test_the_response_has_a_probability_for_every_class_in_class_order(predictor: Predictor, label: str) -> None:
    answer = ask(predictor, picture(label, 900))

    scores = np.array(answer["scores"])
    assert answer["labels"] == list(CLASSES)
    assert scores.sum() == pytest.approx(1, abs=1e-2)
    assert CLASSES[scores.argmax()] == label
    assert [row["label"] for row in answer["top5"]] == [CLASSES[index] for index in np.argsort(-scores)]
    assert answer["model"] == {"backbone": "efficientnet_lite0", "data_digest": DIGEST}


def test_a_staged_picture_and_its_original_get_the_same_answer(predictor: Predictor) -> None:
    original = picture("moss", 901, size=(1200, 900), quality=95)
    small = Image.open(io.BytesIO(original)).resize((341, 256), Image.Resampling.LANCZOS)
    staged = io.BytesIO()
    small.save(staged, "JPEG", quality=92)

    first, second = ask(predictor, original), ask(predictor, staged.getvalue())

    assert first["top5"][0]["label"] == second["top5"][0]["label"]
    assert np.abs(np.array(first["scores"]) - np.array(second["scores"])).max() < 0.1


def test_many_threads_may_share_one_predictor(predictor: Predictor) -> None:
    pictures = [picture(label, number) for label in CLASSES for number in range(910, 914)]
    expected = [ask(predictor, data)["scores"] for data in pictures]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda data: ask(predictor, data)["scores"], pictures))

    assert found == expected


@pytest.mark.parametrize("threads", ["1", "2", "none"])
def test_a_limit_on_threads_does_not_change_the_scores(
    predictor: Predictor, trained: Trained, monkeypatch: pytest.MonkeyPatch, threads: str
) -> None:
    monkeypatch.setenv("INFERENCE_NUM_THREADS", threads)
    limited = model_fn(str(trained.folder))
    image = load_for_evaluation(picture("moss", 930), predictor.preprocessing)

    assert limited.probabilities(image).tobytes() == predictor.probabilities(image).tobytes()
    assert limited.threads == (predictor.threads if threads == "none" else int(threads))


@pytest.mark.parametrize(
    ("data", "content_type", "status", "message"),
    [
        (b"x", "text/plain", 415, r"content type 'text/plain' is not accepted; send one of image/jpeg"),
        (b"x", None, 415, r"content type 'none' is not accepted"),
        (b"", "image/png", 422, r"it is empty \(0 bytes\)"),
        (
            b"\0" * (DEFAULT_LIMITS.max_bytes + 1),
            "image/png",
            413,
            r"at most KENNEL_MAX_IMAGE_BYTES=20971520 are allowed",
        ),
        (b"<html>", "image/jpeg; q=1", 422, "it is a web page"),
        (picture("sky", 1)[:3000], "application/x-image", 422, r"truncated or damaged"),
    ],
)
def test_an_invalid_request_gets_a_status_and_a_reason(
    predictor: Predictor, data: bytes, content_type: str, status: int, message: str
) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        predict_fn(input_fn(data, content_type), predictor)
    assert caught.value.status_code == status


TOOLKIT = """
class BaseInferenceToolkitError(Exception):
    def __init__(self, status_code, message, phrase): ...
"""
ASKING = """
import inference
from sagemaker_inference.errors import BaseInferenceToolkitError
try:
    inference.input_fn(b"", "image/png")
except BaseInferenceToolkitError as error:
    print(error.status_code, error.phrase, error.message, sep="; ")
"""


def test_in_awss_inference_image_bad_input_is_an_error_with_a_status(tmp_path: Path) -> None:
    copy_serving_code(tmp_path)
    (tmp_path / "sagemaker_inference").mkdir()
    (tmp_path / "sagemaker_inference" / "errors.py").write_text(TOOLKIT)
    done = subprocess.run(
        [sys.executable, "-c", ASKING], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("422; Unprocessable Entity; the picture cannot be used: it is empty"), done.stderr


def test_a_picture_with_too_many_pixels_is_413(predictor: Predictor) -> None:
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")

    with pytest.raises(BadInput, match="9000 x 9000 px; at most KENNEL_MAX_IMAGE_PIXELS=64000000 pixels") as caught:
        predict_fn(input_fn(bomb.getvalue(), "image/png"), predictor)
    assert caught.value.status_code == 413


def test_an_accept_header_without_json_is_406(predictor: Predictor) -> None:
    prediction = predict_fn(picture("sky", 1), predictor)

    with pytest.raises(BadInput, match="only application/json is produced") as caught:
        output_fn(prediction, "text/csv")
    assert caught.value.status_code == 406
    assert output_fn(prediction, "text/html, */*;q=0.1")[1] == "application/json"


@pytest.mark.parametrize("name", ["graph.xml", "graph.bin"])
def test_a_tampered_graph_is_not_loaded(trained: Trained, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(trained.folder, tmp_path / "model")
    with (folder / name).open("ab") as file:
        file.write(b" ")

    with pytest.raises(BadModel, match=f"{name} is not the file that training saved"):
        model_fn(str(folder))


def test_a_folder_without_meta_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"no readable meta\.json"):
        model_fn(str(tmp_path))


def test_the_saved_code_serves_on_its_own_without_torch_or_telemetry(trained: Trained, tmp_path: Path) -> None:
    program = (
        "import sys, inference\n"
        "model = inference.model_fn(sys.argv[1])\n"
        "data = inference.input_fn(open(sys.argv[2], 'rb').read(), 'image/jpeg')\n"
        "print(inference.output_fn(inference.predict_fn(data, model))[0])\n"
        "assert inference.__file__.startswith(sys.argv[1]) and 'code' in sys.modules['graphs'].__file__\n"
        "assert not {'torch', 'torchvision', 'training'} & sys.modules.keys()\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
    )
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(picture("apple", 902))
    command = [sys.executable, "-c", program, str(trained.folder), str(photo)]

    env = {"PYTHONPATH": f"{trained.folder}/code", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["top5"][0]["label"] == "apple"


def test_a_model_of_a_release_before_the_decoder_had_a_folder_is_served(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(trained.folder, folder)
    shutil.rmtree(folder / "code" / "pictures")
    meta = json.loads((folder / "meta.json").read_text())
    meta["files"] = {name: digest for name, digest in meta["files"].items() if "/pictures/" not in name}
    meta["checksum"] = checksum_of(meta)
    (folder / "meta.json").write_text(json.dumps(meta))
    assert ask(model_fn(str(folder)), picture("sky", 1))["top5"][0]["label"] == "sky"


def test_what_a_models_meta_names_of_its_code_is_checked(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(trained.folder, folder)
    (folder / "code" / "pictures" / "colour.py").write_text("")
    with pytest.raises(BadModel, match=r"code/pictures/colour\.py is not the file that training saved"):
        model_fn(str(folder))
