"""Data capture: sampled requests and answers of an endpoint in S3, written off the response path.

The event loop hands over what it holds anyway. A thread encodes it as JSON lines into a file on disk for each variant,
and stores the file as an object, in the name of the model's role: once a minute (emulated), when it is large, when
the hour changes and when the deployment ends. What the role or the bucket refuses is lost, and the endpoint's log
says so. At most `MOST_WAITING_BYTES` of bodies wait for the thread; what comes then is not captured.

Keys: DESTINATION/ENDPOINT/VARIANT/yyyy/mm/dd/hh/MM-SS-mmm-UUID.jsonl, in UTC and real time. Source of layout and lines:
docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

import base64
import json
import queue
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from localaws.sagemaker.endpoints.model_data import split_s3_url
from localaws.sagemaker.endpoints.plan import CapturePlan

FLUSH_SECONDS = 60.0  # emulated; AWS: "a couple of minutes" until captured data is in S3
SHORTEST_FLUSH_SECONDS = 1.0  # real
MOST_FILE_BYTES = 16 * 1024 * 1024
MOST_WAITING_BYTES = 64 * 1024 * 1024
CLOSE_SECONDS = 10.0
PIECE_BYTES = 3 * 16 * 1024  # of a body, encoded at a time: base64 takes three bytes together
UNNAMED_TYPE = "application/octet-stream"


class Store(Protocol):
    """S3 as the role of a variant's model reaches it."""

    def store(self, file: BinaryIO, bucket: str, key: str) -> None:
        """Store what is left to read of the file."""


@dataclass(frozen=True)
class Message:
    """A request or an answer."""

    content_type: str | None
    body: bytes


@dataclass(frozen=True)
class Invocation:
    """One invocation of a variant that succeeded. `moment`: when it was answered, in Unix seconds of the real clock."""

    variant: str
    event_id: str
    moment: float
    request: Message
    answer: Message
    inference_id: str | None = None
    custom_attributes: str | None = None

    @property
    def size_bytes(self) -> int:
        """How much of memory its bodies hold."""
        return len(self.request.body) + len(self.answer.body)


class Capture:
    """Captures the invocations of one deployment until it is closed. Offering takes microseconds and never waits."""

    def __init__(
        self,
        plan: CapturePlan,
        endpoint_name: str,
        stores: Mapping[str, Store],
        *,
        folder: Path,
        tell: Callable[[str, str], None],
        flush_seconds: float,
    ) -> None:
        """Start the thread. `stores`: by variant; `tell` writes a variant's line to the endpoint's log.

        `flush_seconds`: real time after which the lines of a variant are stored. `folder`: is made, and takes them
        until then.
        """
        self._plan = plan
        self._endpoint_name = endpoint_name
        self._stores = stores
        self._folder = folder
        self._tell = tell
        self._flush_seconds = flush_seconds
        self._queue: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._counting = threading.Lock()
        self._waiting_bytes = 0
        self._missed = 0
        self._files: dict[str, _Lines] = {}
        folder.mkdir(parents=True)
        self._thread = threading.Thread(target=self._run, name=f"data capture of {endpoint_name}", daemon=True)
        self._thread.start()

    def draw(self) -> str | None:
        """Return an id for the event of one request if it is among the sampled ones, else None."""
        return str(uuid.uuid4()) if random.random() * 100 < self._plan.percentage else None

    def offer(self, invocation: Invocation) -> None:
        """Have an invocation captured, unless too much waits already."""
        with self._counting:
            if self._waiting_bytes + invocation.size_bytes > MOST_WAITING_BYTES:
                self._missed += 1
                return
            self._waiting_bytes += invocation.size_bytes
        self._queue.put(invocation)

    def close(self) -> None:
        """Store what was offered and end the thread; returns when that is done, or after 10 seconds."""
        self._queue.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        is_open = True
        while is_open:
            is_open = self._take_next()
            now = time.monotonic()
            for variant, lines in list(self._files.items()):
                if not is_open or lines.due <= now or lines.size_bytes >= MOST_FILE_BYTES:
                    self._flush(variant)

    def _take_next(self) -> bool:
        """Write the next invocation to its file, or wait until a file is due; return False at the end."""
        first_due = min((lines.due for lines in self._files.values()), default=None)
        try:
            item = self._queue.get(timeout=None if first_due is None else max(0.0, first_due - time.monotonic()))
        except queue.Empty:
            return True
        if item is None:
            return False
        with self._counting:
            self._waiting_bytes -= item.size_bytes
        self._write(item)
        return True

    def _write(self, invocation: Invocation) -> None:
        variant, at = invocation.variant, datetime.fromtimestamp(invocation.moment, UTC)
        if variant in self._files and self._files[variant].hour != _hour(at):
            self._flush(variant)
        try:
            if variant not in self._files:
                path = self._folder / f"{variant}.jsonl"
                self._files[variant] = _Lines(path, at, due=time.monotonic() + self._flush_seconds)
            self._files[variant].add(line_of(invocation, self._plan))
        except OSError as error:  # the disk is full
            self._tell(variant, f"data capture: an invocation was not captured: {error}")

    def _flush(self, variant: str) -> None:
        lines = self._files.pop(variant)
        bucket, prefix = split_s3_url(self._plan.destination)
        key = "/".join(part for part in (prefix.rstrip("/"), self._endpoint_name, variant, lines.name) if part)
        try:
            with lines.reread() as file:
                self._stores[variant].store(file, bucket, key)
        except Exception as error:  # noqa: BLE001 whatever refuses one object, the thread has to go on with the next
            self._tell(variant, f"data capture: {lines.count} records were not written to s3://{bucket}/{key}: {error}")
        with self._counting:
            missed, self._missed = self._missed, 0
        if missed:
            self._tell(variant, f"data capture: {missed} records were missed: too many waited to be written")


def line_of(invocation: Invocation, plan: CapturePlan) -> Iterator[bytes]:
    """Yield the JSON line of an invocation, with its end, in pieces that take some ten microseconds each to make."""
    sides = [("endpointInput", "INPUT", invocation.request)] if plan.has_input else []
    sides += [("endpointOutput", "OUTPUT", invocation.answer)] if plan.has_output else []
    yield b'{"captureData":{'
    for number, (name, mode, message) in enumerate(sides):
        yield f"{',' if number else ''}{_json(name)}:".encode()
        yield from _encoded(message, mode, plan)
    yield f'}},"eventMetadata":{_json(_about(invocation))},"eventVersion":"0"}}\n'.encode()


def _about(invocation: Invocation) -> dict[str, str | list[str]]:
    about: dict[str, str | list[str]] = {"eventId": invocation.event_id}
    if invocation.custom_attributes is not None:
        about["customAttributes"] = [invocation.custom_attributes]
    if invocation.inference_id is not None:
        about["inferenceId"] = invocation.inference_id
    about["inferenceTime"] = datetime.fromtimestamp(invocation.moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return about


class _Lines:
    """The lines of one variant that become one object. `due`: when, by the monotonic clock."""

    def __init__(self, path: Path, begun: datetime, *, due: float) -> None:
        self.hour = _hour(begun)
        self.name = f"{self.hour}/{begun:%M-%S}-{begun.microsecond // 1000:03d}-{uuid.uuid4()}.jsonl"
        self.due = due
        self.count = 0
        self.size_bytes = 0
        self._path = path
        self._path.unlink(missing_ok=True)

    def add(self, pieces: Iterable[bytes]) -> None:
        """Append a line; each write lets the other threads run. A line that cannot be written whole is taken back."""
        size_bytes = 0
        with self._path.open("ab", buffering=0) as file:
            try:
                for piece in pieces:
                    size_bytes += len(piece)
                    file.write(piece)
            except OSError:
                file.truncate(self.size_bytes)
                raise
        self.count += 1
        self.size_bytes += size_bytes

    def reread(self) -> BinaryIO:
        return self._path.open("rb")


def _hour(at: datetime) -> str:
    return f"{at:%Y/%m/%d/%H}"


def _json(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


def _encoded(message: Message, mode: str, plan: CapturePlan) -> Iterator[bytes]:
    content_type = message.content_type or UNNAMED_TYPE
    text, encoding = _as_text(message.body, content_type.partition(";")[0].strip().lower(), plan)
    yield f'{{"observedContentType":{_json(content_type)},"mode":"{mode}","data":'.encode()
    if text is not None:
        yield _json(text).encode()
    else:
        yield b'"'
        for begin in range(0, len(message.body), PIECE_BYTES):
            yield base64.b64encode(message.body[begin : begin + PIECE_BYTES])  # its letters need no escape in JSON
        yield b'"'
    yield f',"encoding":"{encoding}"}}'.encode()


def _as_text(body: bytes, kind: str, plan: CapturePlan) -> tuple[str | None, str]:
    for kinds, encoding in ((plan.csv_types, "CSV"), (plan.json_types, "JSON")):
        if kind in kinds:
            try:
                return body.decode(), encoding
            except UnicodeDecodeError:
                break  # as text it could not be read back
    return None, "BASE64"
