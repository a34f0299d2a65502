"""Look at photos before any training: `python -m training.survey ORDER RESULT`.

ORDER is a JSON file: `photos`, a list of [file, offset, bytes] of encoded pictures; `embedded`, the indices of those to
embed; `weights`, the folder of a backbone's weights; `backbone`; `threads`; `training`, how many photos a training
would have. RESULT, a .npz, gets `sharpness`, (photos,) float32, `features`, (embedded, width) float32, `pace`, the
photos embedded a second, and `views`, of each photo in that training. Lines "NUMBER" on standard output tell how many
photos are done.

Sharpness is the variance of the Laplacian (Pech-Pacheco et al. 2000) of the green channel.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from training.config import Hyperparameters, views_of_each
from training.engines import choose_engine, padded_batches
from training.failures import TrainingFailure
from training.model import Backbone, Embedder, build_backbone
from training.pictures import decode
from training.preprocess import Pixels, evaluation_view
from training.weights import load_weights, stated_preprocessing

Place = tuple[str, int, int]

_AT_ONCE = 256
_REFERENCES = 8


def survey(order: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of the result.

    Raises:
        TrainingFailure: the weights are damaged, or do not fit the backbone.
        BadPicture: a picture is damaged.
    """
    threads = int(order["threads"])
    places: list[Place] = [(str(file), int(offset), int(size)) for file, offset, size in order["photos"]]
    backbone = _backbone(str(order["backbone"]), Path(order["weights"]))
    with ThreadPoolExecutor(threads) as pool:
        sharpness = [value for part in _parts(places, 0) for value in pool.map(_sharpness_at, part)]
        features, pace = _features(backbone, [places[index] for index in order["embedded"]], pool, threads, len(places))
    views = views_of_each(Hyperparameters(), int(order["training"]))
    return {
        "sharpness": np.array(sharpness, np.float32),
        "features": features,
        "pace": np.array(pace),
        "views": np.array(views),
    }


def sharpness_of(pixels: Pixels) -> float:
    """Return the variance of the Laplacian of a picture's green channel."""
    green = pixels[..., 1].astype(np.int16)
    if min(green.shape) < 3:
        return 0.0
    around = green[:-2, 1:-1] + green[2:, 1:-1] + green[1:-1, :-2] + green[1:-1, 2:]
    return float((around - 4 * green[1:-1, 1:-1]).var())


def _sharpness_at(place: Place) -> float:
    return sharpness_of(decode(_bytes_of(place), minimum_side=1 << 15).pixels)


def _bytes_of(place: Place) -> bytes:
    file, offset, size = place
    with Path(file).open("rb") as opened:
        opened.seek(offset)
        return opened.read(size)


def _backbone(name: str, weights: Path) -> Backbone:
    backbone = build_backbone(name, stated_preprocessing(weights))
    load_weights(backbone, weights)
    return backbone


def _features(
    backbone: Backbone, places: Sequence[Place], pool: ThreadPoolExecutor, threads: int, before: int
) -> tuple[npt.NDArray[np.float32], float]:
    """Return the embeddings of photos, in their order, (photos, width) float32, and how many were made a second."""
    if not places:
        return np.zeros((0, backbone.width), np.float32), 0.0

    def view(place: Place) -> Pixels:
        pixels = decode(_bytes_of(place), minimum_side=backbone.preprocessing.resize).pixels
        return evaluation_view(pixels, backbone.preprocessing)

    embedder = Embedder(backbone).eval().requires_grad_(False)
    references = np.stack([view(place) for place in places[:_REFERENCES]])
    choice = choose_engine(embedder, references, device=torch.device("cpu"), threads=threads, say=_say)

    def groups() -> Iterator[Pixels]:
        for part in _parts(places, before):
            yield np.stack(list(pool.map(view, part)))

    begun = time.monotonic()
    rows = list(choice.engine.run(padded_batches(groups(), choice.engine.batch_size)))
    pace = len(places) / (time.monotonic() - begun)
    return np.concatenate(rows)[: len(places)].astype(np.float32), pace


def _parts(places: Sequence[Place], before: int) -> Iterator[Sequence[Place]]:
    """Yield the places in parts; behind each, tell how many photos are done since the beginning."""
    for start in range(0, len(places), _AT_ONCE):
        yield places[start : start + _AT_ONCE]
        print(before + min(start + _AT_ONCE, len(places)), flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Write the result; return 0, or 1 when the backbone cannot be used."""
    order, result = (Path(each) for each in arguments)
    try:
        found = survey(json.loads(order.read_text()))
    except TrainingFailure as error:
        print(error, file=sys.stderr)
        return 1
    np.savez(result, **found)  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
