"""Run every picture through the frozen backbone once; later stages use only its features.

Each rank embeds the shards assigned to it: threads decode pictures while the engine computes. A finished shard is
stored in the checkpoint folder, so an interrupted job repeats one shard at most. The rows of all ranks are then
gathered and sorted by image index, so that the head is trained on the same array whether there is one host or many.
"""

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from training.checkpoint import ShardCache
from training.distributed import World
from training.engines import Engine, padded_batches
from training.failures import TrainingFailure
from training.pictures import BadPicture, decode
from training.preprocess import Pixels, Preprocessing, augmented_view, evaluation_view
from training.shards import Sample, Shard, assign_shards, read_shard, shard_files_in

_PROGRESS_SECONDS = 5.0


@dataclass(frozen=True)
class Embeddings:
    """One split: index (N,), labels (N,), features (N, views, width) float32; view 0 is the evaluation view."""

    index: torch.Tensor
    labels: torch.Tensor
    features: torch.Tensor


@dataclass(frozen=True)
class Plan:
    """Everything that determines a picture's features; equal plans give equal features."""

    preprocessing: Preprocessing
    views: int
    seed: int
    classes: int
    width: int
    weights: str  # sha256 of the weights file, or the seed of random weights
    engine: str

    def digest(self, shard: Shard) -> str:
        """Return the name under which the features of a shard are cached."""
        text = json.dumps([repr(self), shard.sha256])
        return hashlib.sha256(text.encode()).hexdigest()[:24]


# --- one picture ------------------------------------------------------------------------------------------------------


def views_of(sample: Sample, plan: Plan) -> Pixels:
    """Decode a picture once and cut all its views: (views, crop, crop, 3) uint8.

    The views depend only on the seed and the image index.

    Raises:
        TrainingFailure: the picture is damaged.
    """
    try:
        pixels = decode(sample.data, minimum_side=plan.preprocessing.resize).pixels
    except BadPicture as error:
        raise TrainingFailure(f"image {sample.index} of class {sample.label} is corrupt: {error}") from error
    random = np.random.default_rng([plan.seed, sample.index])
    views = [evaluation_view(pixels, plan.preprocessing)]
    views += [augmented_view(pixels, plan.preprocessing, random=random) for _ in range(plan.views - 1)]
    return np.stack(views)


def _decoded(samples: Sequence[Sample], plan: Plan, pool: ThreadPoolExecutor, ahead: int) -> Iterator[Pixels]:
    """Yield the views of each sample in order; the pool decodes at most `ahead` pictures in advance."""
    waiting: deque[Future[Pixels]] = deque()
    for sample in samples:
        waiting.append(pool.submit(views_of, sample, plan))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


# --- one shard --------------------------------------------------------------------------------------------------------


def embed_samples(
    samples: Sequence[Sample], plan: Plan, engine: Engine, *, threads: int, progress: Callable[[int], None]
) -> Embeddings:
    """Run all views of `samples` through the engine; `progress` is called with the number of views just done.

    Raises:
        TrainingFailure: a picture is damaged, or a feature is not finite.
    """
    rows = np.empty((len(samples) * plan.views, plan.width), np.float32)
    done = 0
    with ThreadPoolExecutor(threads) as pool:
        pictures = _decoded(samples, plan, pool, ahead=4 * engine.batch_size)
        for features in engine.run(padded_batches(pictures, engine.batch_size)):
            kept = features[: len(rows) - done]
            rows[done : done + len(kept)] = kept
            done += len(kept)
            progress(len(kept))
    if not np.isfinite(rows).all():
        raise TrainingFailure(
            f"{engine.name} computed features that are not finite (NaN or infinite): check the backbone's weights"
        )
    return Embeddings(
        index=torch.tensor([sample.index for sample in samples], dtype=torch.int64),
        labels=torch.tensor([sample.label for sample in samples], dtype=torch.int64),
        features=torch.from_numpy(rows.reshape(len(samples), plan.views, plan.width)),
    )


# --- one split --------------------------------------------------------------------------------------------------------


class SplitEmbedder:
    """Embeds the splits of a dataset on this rank with one engine; the constructor does no work."""

    def __init__(
        self,
        world: World,
        engine: Engine,
        *,
        threads: int,
        cache: ShardCache,
        say: Callable[[str], None],
        check_interrupted: Callable[[], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._world = world
        self._engine = engine
        self._threads = threads
        self._cache = cache
        self._say = say
        self._check_interrupted = check_interrupted
        self._clock = clock

    def embed(self, split: str, shards: Sequence[Shard], folder: Path | None, plan: Plan) -> Embeddings:
        """Embed this rank's shards of a split, gather the rows of all ranks and sort them by image index.

        Raises:
            TrainingFailure, Interrupted: any rank failed or was interrupted; every rank raises the same error.
        """
        mine = self._world.run_on_every_rank(lambda: self._assigned(split, shards, folder))
        own = self._world.run_on_every_rank(lambda: self._embed_shards(split, mine, folder, plan))
        index = self._world.gather_rows(own.index)
        order = torch.argsort(index)
        self._check_complete(split, index[order], sum(shard.images for shard in shards))
        labels, features = self._world.gather_rows(own.labels), self._world.gather_rows(own.features)
        return Embeddings(index[order], labels[order], features[order])

    def _assigned(self, split: str, shards: Sequence[Shard], folder: Path | None) -> list[Shard]:
        present = self._world.gather_objects(shard_files_in(folder))
        mine = assign_shards(shards, present)[self._world.rank]
        names = ",".join(shard.name for shard in mine)
        self._say(f"split={split} shards={len(mine)} images={sum(shard.images for shard in mine)} names={names or '-'}")
        return mine

    def _embed_shards(self, split: str, shards: Sequence[Shard], folder: Path | None, plan: Plan) -> Embeddings:
        parts = [_no_embeddings(plan)]
        progress = self._progress(split, plan.views * sum(shard.images for shard in shards))
        for shard in shards:
            self._check_interrupted()
            parts.append(self._embed_shard(shard, folder, plan, progress))
        columns = zip(*((part.index, part.labels, part.features) for part in parts), strict=True)
        return Embeddings(*(torch.cat(column) for column in columns))

    def _embed_shard(
        self, shard: Shard, folder: Path | None, plan: Plan, progress: Callable[[int], None]
    ) -> Embeddings:
        name = plan.digest(shard)
        cached = self._cache.load(name)
        if cached is not None:
            self._say(f"{shard.name}: read {len(cached['index'])} embeddings from the checkpoint")
            return Embeddings(cached["index"], cached["labels"], cached["features"])
        samples = read_shard(folder or Path(), shard, classes=plan.classes)
        made = embed_samples(samples, plan, self._engine, threads=self._threads, progress=progress)
        self._cache.save(name, {"index": made.index, "labels": made.labels, "features": made.features})
        return made

    def _progress(self, split: str, total: int) -> Callable[[int], None]:
        started = last = self._clock()
        done = 0

        def report(views: int) -> None:
            nonlocal done, last
            done += views
            now = self._clock()
            if now - last >= _PROGRESS_SECONDS:
                last = now
                self._say(f"split={split} embedded={done}/{total} views, {done / (now - started):.0f} a second")

        return report

    @staticmethod
    def _check_complete(split: str, index: torch.Tensor, expected: int) -> None:
        distinct = len(set(index.tolist()))
        if len(index) != expected or distinct != expected:
            raise TrainingFailure(f"split {split}: read {distinct} distinct images, but the manifest lists {expected}")


def _no_embeddings(plan: Plan) -> Embeddings:
    empty = torch.empty(0, dtype=torch.int64)
    return Embeddings(empty, empty, torch.empty(0, plan.views, plan.width))
