"""Chooses the lines of a run that are shown; all others are in `kennel.log` only.

A training prints some hundred lines on each host: set-up, lists of shards, warnings of torch's rendezvous, a line for
each epoch. Shown are the first epoch, the best one, the accuracy on the test images, all warnings and failures, and
every line that this module does not know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.run.numbers import DECIMAL, WHOLE
from tasks.run.progress import Step

_OF_A_HOST = re.compile(r"^(?P<host>(?:algo|instance)-\d+) \| (?P<line>.*)$", re.DOTALL)
_ALARMING = re.compile(r"\b(WARNING|FAILED|INTERRUPTED)\b")
_EPOCH = re.compile(
    rf"^epoch=(?P<epoch>{WHOLE}) .*?validation_accuracy=(?P<accuracy>{DECIMAL}) validation_images=(?P<images>{WHOLE})"
)
_TEST = re.compile(rf"^test_accuracy=(?P<accuracy>{DECIMAL}) test_loss=\S+ test_images=(?P<images>{WHOLE})")
_EMBEDDED = re.compile(
    rf"rank=0 split=(?P<split>\w+) embedded=(?P<done>{WHOLE})/(?P<total>{WHOLE}) views, (?P<pace>{WHOLE}) a second"
)
_LOAD = re.compile(rf"^load test (?P<target>\S+): (?P<done>{WHOLE}) of about (?P<total>{WHOLE}) s, (?P<counts>.*)$")
_NOISE = re.compile(
    r"\[c10d\]|^\+\+? |Training Container Execution Completed|^Executing command:|lines of set-up are in"
    r"|rank=[1-9]\d* |split=\w+ shards=|rank=0 engine=|rank=0 model saved;|rank=0 done in |^instance: "
)


@dataclass
class _Epochs:
    """The last and the best epoch of one host so far."""

    last: int = 0
    best: int = 0
    best_accuracy: float = -1.0


class LineFilter:
    """Turns each line of a run into lines to show, and into steps, of which the view shows the newest."""

    def __init__(self) -> None:
        self._epochs: dict[str, _Epochs] = {}

    def shown(self, message: str) -> list[str | Step]:
        """Return what is shown for a line: nothing, the line itself, a shorter line, or a step."""
        load = _LOAD.match(message)
        if load is not None:
            return [Step("load test", float(load["done"]), float(load["total"]), "s", load["counts"])]
        of_host = _OF_A_HOST.match(message)
        return [message] if of_host is None else self._of_host(of_host["host"], of_host["line"])

    def _of_host(self, host: str, line: str) -> list[str | Step]:
        epoch, embedded = _EPOCH.match(line), _EMBEDDED.search(line)
        if epoch is not None:
            return self._epoch(host, epoch)
        if embedded is not None:
            label, note = f"{host} embeds the {embedded['split']} images", f"{embedded['pace']} a second"
            return [Step(label, float(embedded["done"]), float(embedded["total"]), "views", note)]
        best = self._best_of(host)
        if _NOISE.search(line) and not _ALARMING.search(line):
            return best
        test = _TEST.match(line)
        if test is not None:
            return [*best, f"{host}: test accuracy {test['accuracy']} on {test['images']} images"]
        return [*best, f"{host} | {line}"]

    def _epoch(self, host: str, found: re.Match[str]) -> list[str | Step]:
        epochs = self._epochs.setdefault(host, _Epochs())
        is_first, accuracy = epochs.last == 0, float(found["accuracy"])
        epochs.last = int(found["epoch"])
        if accuracy > epochs.best_accuracy:
            epochs.best, epochs.best_accuracy = epochs.last, accuracy
        told = f"{host}: epoch {epochs.last}, accuracy {accuracy:.3f} on {found['images']} validation images"
        return [told] if is_first else [Step(f"{host} trains", epochs.last, None, "epochs", f"accuracy {accuracy:.3f}")]

    def _best_of(self, host: str) -> list[str | Step]:
        epochs = self._epochs.pop(host, None)
        if epochs is None or epochs.last == 1:
            return []
        return [
            f"{host}: epoch {epochs.last} was the last; best accuracy {epochs.best_accuracy:.3f}, epoch {epochs.best}"
        ]
