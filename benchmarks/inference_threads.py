"""Measure the CPU time per picture of a model server whose inference is limited to one thread, and to two.

`python -m benchmarks.inference_threads` sends pictures in turns to two model servers of the same EfficientNet-Lite0,
over HTTP, one at a time, and prints a row for each. The CPU time matters because localaws runs several instances on one
machine: what one instance uses, the others lack. Every response must be 200.
"""

import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.figures import Figure, arguments, publish
from benchmarks.localaws_front import DEADLINE_SECONDS, wait_until
from benchmarks.serving import free_port, make_model, make_pictures
from localaws.sagemaker.model_server.archive import unpack

ROUNDS = 5
REQUESTS = 200


def main() -> None:
    """Measure and print."""
    arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pictures = make_pictures()
        archive = make_model("efficientnet_lite0", pictures, Path(folder)).archive
        rows = cpu_time_rows(archive, Path(folder) / "unpacked", pictures[0])
    publish(rows)


def cpu_time_rows(archive: Path, folder: Path, picture: bytes) -> list[Figure]:
    """Send pictures to two model servers in turns; return the CPU time per picture with one thread and with two."""
    unpack(archive, folder)
    used: dict[int, list[float]] = {1: [], 2: []}
    with model_server(folder, 1) as one, model_server(folder, 2) as two:
        for _ in range(ROUNDS + 1):
            for threads, (process, port) in ((1, one), (2, two)):
                used[threads].append(cpu_ms(process, port, picture))
    return [
        Figure(f"model server: CPU time per picture, {threads} thread(s), median", statistics.median(values[1:]), "ms",
            ROUNDS * REQUESTS)
        for threads, values in used.items()
    ]  # fmt: skip


def cpu_ms(process: psutil.Process, port: int, picture: bytes) -> float:
    """Return the milliseconds of CPU time per picture of a model server."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    before = process.cpu_times()
    for _ in range(REQUESTS):
        connection.request("POST", "/invocations", picture, {"Content-Type": "image/jpeg"})
        answer = connection.getresponse()
        assert answer.read() and answer.status == 200
    after = process.cpu_times()
    connection.close()
    return 1000 * (after.user + after.system - before.user - before.system) / REQUESTS


@contextmanager
def model_server(folder: Path, threads: int) -> Iterator[tuple[psutil.Process, int]]:
    """Run a model server like localaws does; yield its process and port when it responds to pings."""
    port = free_port()
    limits = {"INFERENCE_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    environment = {**os.environ, **limits, "SM_MODEL_DIR": str(folder), "SAGEMAKER_BIND_TO_PORT": str(port)}
    command = [sys.executable, "-m", "localaws.sagemaker.model_server"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_ready(port))
            yield psutil.Process(process.pid), port
        finally:
            process.terminate()


def is_ready(port: int) -> bool:
    """Return whether a model server responds to its ping."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    main()
