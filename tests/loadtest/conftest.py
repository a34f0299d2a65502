"""Fixtures: a real server to put under load, and a real image to send."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.hostile import CORPUS
from tests.polling import wait_until

SERVER = Path(__file__).parent / "invoke_server.py"


@dataclass(frozen=True)
class InvokeServer:
    """A server process that implements InvokeEndpoint and Invoke."""

    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def counts(self) -> dict[str, int]:
        """Return the number of responses by status."""
        with urllib.request.urlopen(f"{self.url}/counts", timeout=60) as answer:
            counts: dict[str, int] = json.loads(answer.read())
        return counts

    def stall(self, *, once_answered: int, seconds: float) -> None:
        """Pause the whole process for a while after so many answers, like a stalled machine."""

        def stop() -> None:
            wait_until(lambda: sum(self.counts().values()) >= once_answered, f"{once_answered} answers")
            os.kill(self.process.pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(self.process.pid, signal.SIGCONT)

        threading.Thread(target=stop, daemon=True).start()


@contextmanager
def running_server() -> Iterator[InvokeServer]:
    """Run a server until the block ends."""
    command = [sys.executable, str(SERVER), json.dumps(CORPUS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield InvokeServer(int(process.stdout.readline()), process)
        finally:
            process.kill()


@pytest.fixture
def server() -> Iterator[InvokeServer]:
    with running_server() as started:
        yield started


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "photo.jpg"
    Image.radial_gradient("L").convert("RGB").save(path, quality=90)
    return path
