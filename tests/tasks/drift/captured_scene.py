"""A run with a staged test split, a served model and an endpoint that keeps requests, as data capture writes them."""

import hashlib
import importlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save

from localaws.sagemaker.endpoints.capture import Invocation, Message, line_of
from localaws.sagemaker.endpoints.plan import CapturePlan
from tasks.account.objects import put_object
from tasks.account.role_policies import captured_prefix
from tasks.evaluation.evaluate import evaluate_model
from tasks.evaluation.photos import read_photos
from tasks.run.records import DatasetRef, EndpointRef, TrainedModel
from tests.tasks.data.datasets import encoded, write_zip
from tests.tasks.data.workplace import Workplace
from tests.tasks.evaluation.predicted import meta_of
from tests.tasks.sagemaker.jobs import archive
from training.graphs import checksum_of, import_openvino
from training.serve import CODE, Predictor, input_fn, model_fn, output_fn, predict_fn

CLASSES, SIDE, WIDTH = ("cat", "dog", "owl"), 48, 8
PLAN = CapturePlan(True, 100, "s3://b/p", has_input=True, has_output=True, json_types=frozenset({"application/json"}))
URI = "s3://b/runs/run-1/model.tar.gz"


def photo(generator: np.random.Generator, *, brightness: float = 1.0) -> bytes:
    pixels = generator.integers(0, 255, (6, 6, 3)) * brightness
    return encoded(Image.fromarray(pixels.astype(np.uint8)).resize((64, 60)), quality=90)


def deploy_model(place: Workplace, folder: Path) -> Predictor:
    """Return a model that the run has evaluated on 60 staged photos; its endpoint keeps requests."""
    generator = np.random.default_rng(1)
    counts = (("train", 1), ("valid", 1), ("test", 20))
    files = {
        f"photos/{split}/{name}/{number}.jpg": photo(generator)
        for name in CLASSES
        for split, count in counts
        for number in range(count)
    }
    dataset, _ = place.stage(write_zip(folder / "photos.zip", files))
    (folder / "m").mkdir()
    predictor = _write_model(folder / "m", CLASSES)
    _keep_records(place, dataset, predictor, folder / "m")
    return predictor


def _write_model(folder: Path, classes: Sequence[str]) -> Predictor:
    """Write a model whose backbone averages the quarters of a photo, and whose head is two random layers; load it."""
    openvino = import_openvino()
    ops, random = importlib.import_module("openvino.opset13"), np.random.default_rng(5)
    image = ops.parameter([1, SIDE, SIDE, 3], np.uint8)
    quarters = ops.reshape(ops.convert(image, "f32"), np.array([2, SIDE // 2, 2, SIDE // 2, 3]), False)
    pooled = ops.reduce_mean(quarters, np.array([1, 3]))  # (2, 2, 3)
    embedding = ops.reshape(pooled, np.array([1, 12]), False)
    layers = [random.normal(0, 0.02, shape).astype(np.float32) for shape in ((12, WIDTH), (WIDTH, len(classes)))]
    hidden = ops.relu(ops.matmul(embedding, ops.constant(layers[0]), False, False))
    scores = ops.softmax(ops.matmul(hidden, ops.constant(layers[1]), False, False), 1)
    openvino.save_model(openvino.Model([scores], [image], "m"), folder / "graph.xml", compress_to_fp16=False)
    (folder / "code" / "pictures").mkdir(parents=True)
    names = [f"code/{name}" for name in CODE]
    for name in names:
        (folder / name).write_text("")
    _seal(
        folder,
        {
            "classes": list(classes),
            "backbone": "quarters",
            "data_digest": "d",
            "preprocessing": {
                "resize": SIDE,
                "crop": SIDE,
                "interpolation": "bilinear",
                "mean": [0.5] * 3,
                "deviation": [0.5] * 3,
            },
            "graph": {"precision": "f32"},
            "files": {name: _sha256(folder / name) for name in ("graph.xml", "graph.bin", *names)},
        },
    )
    return model_fn(str(folder))


def _seal(folder: Path, meta: dict[str, Any]) -> None:
    (folder / "meta.json").write_text(json.dumps({**meta, "checksum": checksum_of(meta)}))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _keep_records(place: Workplace, dataset: DatasetRef, predictor: Predictor, folder: Path) -> None:
    names = {row["member"] for row in place.rows(dataset) if row["split"] == "test"}
    photos = read_photos(place.aws, dataset, names)
    ordered = sorted(names, key=lambda name: int(name.partition("/")[2].removesuffix(".jpg")))
    scores = np.stack([predict_fn(input_fn(photos[name], "image/jpeg"), predictor).scores for name in ordered])
    labels = np.array([int(name.partition("/")[0]) for name in ordered])
    index = np.array([int(name.partition("/")[2].removesuffix(".jpg")) for name in ordered])
    columns = {"index": index, "labels": labels, "predicted": scores.argmax(1), "scores": scores}
    content, accuracy = save(columns), float((labels == scores.argmax(1)).mean())
    meta = json.loads((folder / "meta.json").read_text())
    del meta["checksum"]
    _seal(folder, {**meta, **meta_of(content, CLASSES, accuracy, len(labels))})
    members = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    kept = place.run.folder / "TrainedModels" / "sagemaker" / "model.tar.gz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(archive({**members, "predictions.safetensors": content}))
    trained = TrainedModel(
        job_name="j",
        job_arn="a",
        model_uri=URI,
        backbone="quarters",
        classes=CLASSES,
        test_accuracy=accuracy,
        test_images=len(labels),
        metrics={},
        instance_type="ml.m5.large",
        instance_count=1,
        instance_reason="",
        spot=False,
        seconds=1.0,
        billable_seconds=1.0,
        cost_usd=None,
        data_digest=dataset.digest,
    )
    endpoint = EndpointRef("e", "arn", "c", "m", "primary", "ml.m5.large", 1, _uri(place), 1.0, capture_days=2)
    for record in (dataset, trained, endpoint):
        place.run.keep(record)
    assert evaluate_model(place.run, "sagemaker", trained, kept) is not None


def _uri(place: Workplace) -> str:
    return URI.replace("//b/", f"//{place.aws.bucket}/")


def line(model: Predictor, photo: bytes, moment: datetime) -> bytes:
    answer, kind = output_fn(predict_fn(input_fn(photo, "image/jpeg"), model))
    sent = Message("image/jpeg", photo)
    invocation = Invocation("primary", "e", moment.timestamp(), sent, Message(kind, answer.encode()))
    return b"".join(line_of(invocation, PLAN))


def capture(place: Workplace, lines: Sequence[bytes], moment: datetime, name: str = "00-00-000-x") -> str:
    key = f"{captured_prefix('run-1')}/e/primary/{moment:%Y/%m/%d/%H}/{name}.jsonl"
    put_object(place.aws, place.aws.bucket, key, b"".join(lines), content_type="application/jsonl")
    return key
