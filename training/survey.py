"""Look at photos before any training: `python -m training.survey ORDER RESULT`.

ORDER is a JSON file: `photos`, a list of [file, offset, bytes] of encoded pictures; `embedded`, the indices of those to
embed; `weights`, the folder of a backbone's weights; `backbone`; `threads`; `training`, how many photos a training
would have. RESULT, a .npz, gets `sharpness`, (photos,) float32, `features`, (embedded, width) float32, `pace`, the
photos embedded a second, and `views`, of each photo in that training. Lines "sharpness NUMBER" and "embed NUMBER" on
standard output tell how many photos are done. torch is imported only if photos are to be embedded.

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

from training.config import Hyperparameters, views_of_each
from training.failures import TrainingFailure
from training.pictures import decode
from training.preprocess import Pixels, evaluation_view

Place = tuple[str, int, int]

_AT_ONCE = 256
_REFERENCES = 8


def survey(order: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of the result.

    Raises:
        TrainingFailure: the weights are damaged, or do not fit the backbone.
        BadPicture: a picture is damaged.
    """
    places: list[Place] = [(str(file), int(offset), int(size)) for file, offset, size in order["photos"]]
    chosen = [places[index] for index in order["embedded"]]
    with ThreadPoolExecutor(int(order["threads"])) as pool:
        sharpness = [value for part in _parts(places, "sharpness") for value in pool.map(_sharpness_at, part)]
        embedded = _embedded(order, chosen, pool) if chosen else (np.zeros((0, 0), np.float32), 0.0)
    return {
        "sharpness": np.array(sharpness, np.float32),
        "features": embedded[0],
        "pace": np.array(embedded[1]),
        "views": np.array(views_of_each(Hyperparameters(), int(order["training"]))),
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


def _embedded(
    order: dict[str, Any], places: Sequence[Place], pool: ThreadPoolExecutor
) -> tuple[npt.NDArray[np.float32], float]:
    """Return the embeddings of photos, in their order, (photos, width) float32, and how many were made a second."""
    import torch

    from training.engines import choose_engine, padded_batches
    from training.model import Embedder, build_backbone
    from training.weights import load_weights, stated_preprocessing

    weights = Path(order["weights"])
    backbone = build_backbone(str(order["backbone"]), stated_preprocessing(weights))
    load_weights(backbone, weights)

    def view(place: Place) -> Pixels:
        pixels = decode(_bytes_of(place), minimum_side=backbone.preprocessing.resize).pixels
        return evaluation_view(pixels, backbone.preprocessing)

    def groups() -> Iterator[Pixels]:
        for part in _parts(places, "embed"):
            yield np.stack(list(pool.map(view, part)))

    embedder = Embedder(backbone).eval().requires_grad_(False)
    references = np.stack([view(place) for place in places[:_REFERENCES]])
    threads = int(order["threads"])
    choice = choose_engine(embedder, references, device=torch.device("cpu"), threads=threads, say=_say)
    begun = time.monotonic()
    rows = list(choice.engine.run(padded_batches(groups(), choice.engine.batch_size)))
    pace = len(places) / (time.monotonic() - begun)
    return np.concatenate(rows)[: len(places)].astype(np.float32), pace


def _parts(places: Sequence[Place], what: str) -> Iterator[Sequence[Place]]:
    """Yield the places in parts; behind each, tell how many photos are done."""
    for start in range(0, len(places), _AT_ONCE):
        yield places[start : start + _AT_ONCE]
        print(what, min(start + _AT_ONCE, len(places)), flush=True)


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
