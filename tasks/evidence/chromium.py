"""Has a headless Chromium of this machine draw HTML files, over a pipe that only this process has the ends of.

The browser is told what to open by its own protocol (CDP, `--remote-debugging-pipe`), so no address is among its
arguments, which other users of the machine can read, and it listens on no port. It is given files, opens nothing of the
network, has an environment and a profile of its own, and is ended when the block is left.
https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import psutil

from tasks.run.errors import StageFailed, WaitTimedOut
from tasks.run.sealed import parse_json

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH_PX, SCALE, LEAST_HEIGHT_PX, MOST_HEIGHT_PX = 1_000, 1.4, 240, 3_000
"""The window in CSS pixels, and how many of the picture's are one: a picture is 1,400 wide, and 4,200 high at most."""

START_SECONDS, PAGE_SECONDS, END_SECONDS = 60.0, 30.0, 5.0
MOST_RECEIVED_BYTES = 64 * 2**20
"""Of one message; a picture of the highest page has less than 10 MB."""
_PNG = b"\x89PNG\r\n\x1a\n"

WHERE = "evidence: Chromium"
_OPTIONS = (
    *("--headless", "--remote-debugging-pipe", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-breakpad", "--disable-dev-shm-usage"),
)
_NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND"
_READS, _WRITES = 3, 4
"""The descriptors from which Chromium reads its protocol, and to which it writes."""

OUTPUT = "output.txt"
AGAIN = "kennel evidence <run>"


@dataclass(frozen=True)
class Picture:
    """A PNG, its size in pixels, and whether the page goes on below it."""

    png: bytes
    width_px: int
    height_px: int
    is_cut: bool


def find_chromium(path: str | None = None) -> str | None:
    """Return the program, looked for in the folders of `path` (by default the environment's), or None."""
    return next((found for name in PROGRAMS if (found := shutil.which(name, path=path))), None)


class Browser:
    """A running browser with one tab; made by `running_chromium`, and used by one thread.

    `reads` and `writes` are the ends of its pipes; `output` is the file of what it prints.
    """

    def __init__(self, reads: FileIO, writes: FileIO, output: Path, clock: Callable[[], float]) -> None:
        self._reads, self._writes, self._output, self._clock = reads, writes, output, clock
        self._numbers = itertools.count(1)
        self._received = bytearray()
        self._events: list[str] = []
        self._session: str | None = None
        self._deadline = 0.0

    def open_tab(self, seconds: float) -> None:
        """Open the tab that pictures are taken in.

        Raises:
            WaitTimedOut, StageFailed: as `picture`.
        """
        self._deadline = self._clock() + seconds
        with self._understanding():
            target = self._call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self._call("Page.enable")

    def picture(self, page: Path, seconds: float = PAGE_SECONDS) -> Picture:
        """Draw an HTML file as a picture that is as high as the page, up to `MOST_HEIGHT_PX`.

        Raises:
            WaitTimedOut: it is not drawn after `seconds`.
            StageFailed: Chromium ended, refused, or answered what is not of its protocol.
        """
        self._deadline = self._clock() + seconds
        with self._understanding():
            return self._drawn(page)

    def _drawn(self, page: Path) -> Picture:
        self._resize(LEAST_HEIGHT_PX)
        self._events.clear()
        opened = self._call("Page.navigate", url=page.resolve().as_uri())
        if "errorText" in opened:
            raise self._failed(f"it did not open a page: {opened['errorText']}")
        while "Page.loadEventFired" not in self._events:
            self._take(self._receive())
        whole = int(self._call("Page.getLayoutMetrics")["cssContentSize"]["height"])
        height = min(max(whole, LEAST_HEIGHT_PX), MOST_HEIGHT_PX)
        self._resize(height)
        png = base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])
        if not png.startswith(_PNG):
            raise self._failed("its picture is no PNG")
        return Picture(png, *_size_of(png), is_cut=whole > height)

    def _resize(self, height: int) -> None:
        size = {"width": WIDTH_PX, "height": height, "deviceScaleFactor": SCALE, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        asked = json.dumps({"id": number, "method": method, "params": parameters, **session})
        self._writes.write(asked.encode() + b"\0")
        while (answer := self._receive()).get("id") != number:
            self._take(answer)
        if "error" in answer:
            raise self._failed(f"{method}: {answer['error'].get('message')}")
        return dict(answer["result"])

    def _take(self, event: Mapping[str, Any]) -> None:
        self._events.append(str(event.get("method")))

    def _receive(self) -> dict[str, Any]:
        if self._clock() >= self._deadline:  # what it tells without end is always there
            raise self._late()
        while b"\0" not in self._received:
            self._wait()
            part = self._reads.read(2**20)
            if not part:
                raise self._failed("it ended")
            self._received += part
            if len(self._received) > MOST_RECEIVED_BYTES:
                raise self._failed(f"its answer has more than {MOST_RECEIVED_BYTES:,} bytes")
        message, _, self._received = self._received.partition(b"\0")
        return dict(parse_json(bytes(message)))

    def _wait(self) -> None:
        ready = select.poll()
        ready.register(self._reads, select.POLLIN)
        if not ready.poll(max(0.0, self._deadline - self._clock()) * 1e3):
            raise self._late()

    def _late(self) -> WaitTimedOut:
        why = "its deadline has passed, perhaps because the machine is busy"
        return WaitTimedOut(WHERE, "it does not answer", why, AGAIN)

    @contextmanager
    def _understanding(self) -> Iterator[None]:
        """Translate what an answer that is not of the protocol, or a closed pipe, raises inside the block."""
        try:
            yield
        except BrokenPipeError as error:
            raise self._failed("it ended") from error
        except OSError as error:
            raise StageFailed(WHERE, "it cannot be talked to", str(error), AGAIN) from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"
            raise StageFailed(WHERE, "its answer is not of its protocol", why, AGAIN) from error

    def _failed(self, what: str) -> StageFailed:
        said: list[str] = []
        with suppress(OSError):  # somebody removed the file
            said = self._output.read_text(errors="replace").strip().splitlines()
        return StageFailed(WHERE, what, said[-1][:400] if said else "it did not say why", AGAIN)


@contextmanager
def running_chromium(
    program: str, *, start_seconds: float = START_SECONDS, clock: Callable[[], float] = time.monotonic
) -> Iterator[Browser]:
    """Run the browser until the block ends.

    Raises:
        WaitTimedOut: it did not start in time.
        StageFailed: it cannot be started, ended, or answered what is not of its protocol.
    """
    with ExitStack() as stack:
        browser = _started(stack, program, clock)
        browser.open_tab(start_seconds)
        yield browser


def _started(stack: ExitStack, program: str, clock: Callable[[], float]) -> Browser:
    try:
        profile = Path(stack.enter_context(_private_folder()))
        their_end, ours = (stack.enter_context(end) for end in _pipe())
        our_end, theirs = (stack.enter_context(end) for end in _pipe())
        stack.callback(_end, _spawn(program, profile, their_end, theirs))
        their_end.close()
        theirs.close()
    except OSError as error:
        raise StageFailed(WHERE, f"{program} cannot be started", str(error), AGAIN) from error
    return Browser(our_end, ours, profile / OUTPUT, clock)


def _private_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="kennel-chromium-", ignore_cleanup_errors=True)


def _pipe() -> tuple[FileIO, FileIO]:
    """Return the ends of a pipe for reading and for writing, above the numbers that the child has for its ends."""
    ends = []
    for low, mode in zip(os.pipe(), ("rb", "wb"), strict=True):
        ends.append(FileIO(fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 10), mode))
        os.close(low)
    return ends[0], ends[1]


def _spawn(program: str, profile: Path, reads: FileIO, writes: FileIO) -> int:
    """Start the browser as the leader of a process group of its own, and return its process id."""
    output, flags = str(profile / OUTPUT), os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_DUP2, reads.fileno(), _READS),
        (os.POSIX_SPAWN_DUP2, writes.fileno(), _WRITES),
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, output, flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # Chromium does not start as root with its sandbox. What it draws is escaped, and runs no script but two of ours.
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [program, *_OPTIONS, _NO_NETWORK, *root, f"--user-data-dir={profile}"]
    return os.posix_spawn(program, command, _environment(profile), file_actions=actions, setpgroup=0)


def _environment(profile: Path) -> dict[str, str]:
    """Return what Chromium is given of the environment: no key and no token; the owner, by which `down` finds it."""
    kept = {name: os.environ[name] for name in ("PATH", "KENNEL_OWNER") if name in os.environ}
    return {**kept, "HOME": str(profile), "TMPDIR": str(profile), "LANG": "C.UTF-8"}


def _end(pid: int) -> None:
    """Kill the browser with all processes that it started; it has nothing to save."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(psutil.Error):
        psutil.Process(pid).wait(END_SECONDS)


def _size_of(png: bytes) -> tuple[int, int]:
    """Return the width and height in pixels that a PNG's header says."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
