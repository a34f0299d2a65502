"""Sends photos of the test split to an endpoint while it is changed, so that its alarms have something to judge."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
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
    """Send a photo every five seconds of AWS's clock inside the block; what it is answered is the alarms' business.

    Raises:
        SettingsRefused: the run has no endpoint or no staged dataset.
        MalformedAnswer, AwsFailed: the photos cannot be read.
    """
    endpoint, photos = run.need(EndpointRef), _drawn(run)
    pause = max(LEAST_PAUSE_SECONDS, AwsClock.from_settings(run.settings).wall_seconds(PAUSE_SECONDS))
    ended = threading.Event()
    arguments = (run, endpoint, photos, pause, ended)
    thread = threading.Thread(target=_send, args=arguments, name="probes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=60.0)


def _drawn(run: Run) -> list[TestImage]:
    read = read_test_images(run.aws, run.need(DatasetRef), count=MOST_READ)
    return random.Random(SEED).sample(read, min(PHOTOS, len(read)))


def _send(run: Run, endpoint: EndpointRef, photos: list[TestImage], pause: float, ended: threading.Event) -> None:
    number = failed = 0
    while not ended.wait(pause):
        try:
            refused = ask_once(run.aws, endpoint, photos[number % len(photos)].content)
        except KennelError as error:
            refused = f"{error.what}: {error.why}"
        number, failed = number + 1, failed + (refused is not None)
    if failed:
        say(f"promote: {failed} of {number} photos of ours were answered with an error")
