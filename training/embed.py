"""Embedding: every picture goes through the frozen backbone once, then only its features are used.

Each rank embeds the shards it was given: threads decode while the engine computes. A finished shard is kept in the
checkpoint folder, so an interrupted job loses one shard at most. The rows of all ranks are then gathered in the order
of the image index, so that one host and n hosts train the head on the same array.
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
from training.preprocess import BadImage, Pixels, Preprocessing, augmented_view, decode, evaluation_view
from training.shards import Sample, Shard, assign_shards, names_in, read_shard

_PROGRESS_SECONDS = 5.0


@dataclass(frozen=True)
class Embeddings:
    """One split: index (N,), labels (N,), features (N, views, width) float32; view 0 is the plain evaluation view."""

    index: torch.Tensor
    labels: torch.Tensor
    features: torch.Tensor


@dataclass(frozen=True)
class Plan:
    """How pictures become features; equal plans give equal features, so its digest names cached shards."""

    preprocessing: Preprocessing
    views: int
    seed: int
    classes: int
    width: int
    weights: str  # sha256 of the weights file, or how they were drawn
    engine: str

    def digest(self, shard: Shard) -> str:
        text = json.dumps([repr(self), shard.sha256])
        return hashlib.sha256(text.encode()).hexdigest()[:24]


# --- one picture ------------------------------------------------------------------------------------------------------


def views_of(sample: Sample, plan: Plan) -> Pixels:
    """Decode once, cut every view: (views, crop, crop, 3). Views depend on seed and image index only.

    Raises:
        TrainingFailure: the picture inside the shard is damaged.
    """
    try:
        pixels = decode(sample.data, minimum_side=plan.preprocessing.resize)
    except BadImage as error:
        raise TrainingFailure(f"image {sample.index} of class {sample.label} is corrupt: {error}") from error
    random = np.random.default_rng([plan.seed, sample.index])
    views = [evaluation_view(pixels, plan.preprocessing)]
    views += [augmented_view(pixels, plan.preprocessing, random=random) for _ in range(plan.views - 1)]
    return np.stack(views)


def _decoded(samples: Sequence[Sample], plan: Plan, pool: ThreadPoolExecutor, ahead: int) -> Iterator[Pixels]:
    """Views of each sample in order, decoded by the pool at most `ahead` pictures in front of the engine."""
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
    """Run all views of `samples` through the engine; `progress` is told how many views are done.

    Raises:
        TrainingFailure: a damaged picture, or features that are not finite.
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
            f"{engine.name} gave features that are not finite (NaN or infinite): are the weights sound?"
        )
    return Embeddings(
        index=torch.tensor([sample.index for sample in samples], dtype=torch.int64),
        labels=torch.tensor([sample.label for sample in samples], dtype=torch.int64),
        features=torch.from_numpy(rows.reshape(len(samples), plan.views, plan.width)),
    )


# --- one split --------------------------------------------------------------------------------------------------------


class SplitEmbedder:
    """Embeds splits on this rank with one engine; constructing does no work."""

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
        """Embed this rank's share of a split and gather everyone's, in order of image index.

        Raises:
            TrainingFailure, Interrupted: on every rank, if any rank met one.
        """
        mine = self._world.together(lambda: self._share(split, shards, folder))
        own = self._world.together(lambda: self._embed_shards(split, mine, folder, plan))
        index = self._world.gather_rows(own.index)
        order = torch.argsort(index)
        self._check_whole(split, index[order], sum(shard.images for shard in shards))
        labels, features = self._world.gather_rows(own.labels), self._world.gather_rows(own.features)
        return Embeddings(index[order], labels[order], features[order])

    def _share(self, split: str, shards: Sequence[Shard], folder: Path | None) -> list[Shard]:
        present = self._world.gather_objects(names_in(folder))
        mine = assign_shards(shards, present)[self._world.rank]
        names = ",".join(shard.name for shard in mine)
        self._say(f"split={split} shards={len(mine)} images={sum(shard.images for shard in mine)} names={names or '-'}")
        return mine

    def _embed_shards(self, split: str, shards: Sequence[Shard], folder: Path | None, plan: Plan) -> Embeddings:
        parts = [_nothing(plan)]
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
            self._say(f"{shard.name}: {len(cached['index'])} embeddings taken from the checkpoint")
            return Embeddings(cached["index"], cached["labels"], cached["features"])
        samples = read_shard(folder or Path(), shard, classes=plan.classes)
        made = embed_samples(samples, plan, self._engine, threads=self._threads, progress=progress)
        self._cache.save(name, {"index": made.index, "labels": made.labels, "features": made.features})
        return made

    def _progress(self, split: str, total: int) -> Callable[[int], None]:
        started = last = self._clock()
        done = 0

        def tell(views: int) -> None:
            nonlocal done, last
            done += views
            now = self._clock()
            if now - last >= _PROGRESS_SECONDS:
                last = now
                self._say(f"split={split} embedded={done}/{total} views, {done / (now - started):.0f} a second")

        return tell

    @staticmethod
    def _check_whole(split: str, index: torch.Tensor, expected: int) -> None:
        distinct = len(set(index.tolist()))
        if len(index) != expected or distinct != expected:
            raise TrainingFailure(f"split {split}: {distinct} distinct images where the manifest says {expected}")


def _nothing(plan: Plan) -> Embeddings:
    empty = torch.empty(0, dtype=torch.int64)
    return Embeddings(empty, empty, torch.empty(0, plan.views, plan.width))
