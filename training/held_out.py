"""Have two saved models answer the same photos on this machine, in turn, so that their times can be compared.

python -m training.held_out --model FOLDER --model FOLDER --shards FOLDER --output FILE.npz

The models are unpacked archives; kennel's own code serves them. The output has `names` (N,), the shard and the member
of each photo, and for each model its `classes`, its `scores` (N, classes) and `seconds` (N,). A photo that a model
refuses has the score 0 for every class.
"""

import argparse
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.serve import BadInput, Predictor, model_fn, predict_fn

REPORT_SECONDS = 5.0


def main() -> None:
    """Write the answers, and print how many photos are done every five seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, action="append", required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    models = [model_fn(str(folder)) for folder in given.model]
    names, scores, seconds = answer(models, given.shards)
    columns: dict[str, Any] = {f"scores_{number}": np.array(found, np.float32) for number, found in enumerate(scores)}
    columns |= {f"classes_{number}": np.array(model.labels) for number, model in enumerate(models)}
    columns |= {f"seconds_{number}": np.array(found) for number, found in enumerate(seconds)}
    np.savez(given.output, names=np.array(names), **columns)


def answer(models: Sequence[Predictor], shards: Path) -> tuple[list[str], list[list[np.ndarray]], list[list[float]]]:
    """Return the photos' names, and for each model its scores and its seconds; which one is first alternates."""
    names: list[str] = []
    scores: list[list[np.ndarray]] = [[] for _ in models]
    seconds: list[list[float]] = [[] for _ in models]
    reported = time.monotonic()
    for number, (name, photo) in enumerate(photos(shards)):
        names.append(name)
        for index in range(len(models))[:: 1 if number % 2 else -1]:
            begun = time.perf_counter()
            scores[index].append(_scores(models[index], photo))
            seconds[index].append(time.perf_counter() - begun)
        if time.monotonic() - reported > REPORT_SECONDS:
            reported = time.monotonic()
            print(f"{len(names)} photos", flush=True)
    return names, scores, seconds


def photos(shards: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name ("shard/member") and the bytes of each photo, in the order of the shards and in theirs."""
    for shard in sorted(shards.glob("*.tar")):
        with tarfile.open(shard, "r|") as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None:
                    yield f"{shard.name}/{member.name}", file.read()


def _scores(model: Predictor, photo: bytes) -> np.ndarray:
    try:
        return predict_fn(photo, model).scores
    except BadInput:
        return np.zeros(len(model.labels), np.float32)


if __name__ == "__main__":
    main()
