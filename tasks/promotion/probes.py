"""Sends photos of the test split to what is changed, so that its alarms have something to judge."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tasks.run.clock import AwsClock
from tasks.run.errors import KennelError
from tasks.run.handle import Run
from tasks.run.records import DatasetRef, EndpointRef
from tasks.run.waiting import say
from tasks.serving.answering import ask_once
from tasks.serving.staged_images import TestImage, read_test_images

PHOTOS = 128
MOST_READ = 1024
"""So many are read, of which those that are sent are drawn: a shard has its photos in the order of the classes."""
SEED = 0
PAUSE_SECONDS = 5.0
"""Of AWS's clock, between two photos: twelve in a period of an alarm."""
LEAST_PAUSE_SECONDS = 0.05


@contextmanager
def probing(run: Run) -> Iterator[None]:
    """Send the endpoint a photo every five seconds of AWS's clock inside the block; the alarms judge the answers.

    Raises:
        SettingsRefused: the run has no endpoint or no staged dataset.
        MalformedAnswer, AwsFailed: the photos cannot be read.
    """
    endpoint = run.need(EndpointRef)
    with sending(run, lambda photo: ask_once(run.aws, endpoint, photo), PAUSE_SECONDS, "promote"):
        yield


@contextmanager
def sending(run: Run, ask: Callable[[bytes], str | None], pause_seconds: float, flow: str) -> Iterator[None]:
    """Call `ask` with a photo after each pause of AWS's clock inside the block; it returns how it failed, or None.

    Raises:
        SettingsRefused: the run has no staged dataset.
        MalformedAnswer, AwsFailed: the photos cannot be read.
    """
    pause = max(LEAST_PAUSE_SECONDS, AwsClock.from_settings(run.settings).wall_seconds(pause_seconds))
    photos, ended = _drawn(run), threading.Event()
    thread = threading.Thread(target=_send, args=(ask, photos, pause, ended, flow), name="probes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=60.0)


def _drawn(run: Run) -> list[TestImage]:
    read = read_test_images(run.aws, run.need(DatasetRef), count=MOST_READ)
    return random.Random(SEED).sample(read, min(PHOTOS, len(read)))


def _send(
    ask: Callable[[bytes], str | None], photos: list[TestImage], pause: float, ended: threading.Event, flow: str
) -> None:
    number = failed = 0
    following = time.monotonic() + pause
    while not ended.wait(max(0.0, following - time.monotonic())):
        following = max(following + pause, time.monotonic())
        try:
            refused = ask(photos[number % len(photos)].content)
        except KennelError as error:
            refused = f"{error.what}: {error.why}"
        number, failed = number + 1, failed + (refused is not None)
    if failed:
        say(f"{flow}: {failed} of {number} photos of ours were answered with an error")
