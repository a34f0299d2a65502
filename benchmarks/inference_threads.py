"""The model server: processor time a picture where inference is limited to one thread, and to two.

`python -m benchmarks.inference_threads` asks two model servers of the same EfficientNet-Lite0 in turns, over HTTP, one
picture at a time, and prints a row each: an instance whose capacity is limited is a share of the machine, and what it
computes is what the other instances do not get. The guard: each answer is 200.
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

from benchmarks.localaws_front import DEADLINE_SECONDS, Row
from benchmarks.scale_out import make_archive, until
from benchmarks.serving import free_port, make_pictures
from localaws.sagemaker.model_server.archive import unpack
from tasks.run.machine import hardware

ROUNDS = 5
REQUESTS = 200


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        rows = processor_time(make_archive(Path(folder)), Path(folder) / "unpacked", make_pictures()[0])
    print(hardware())
    for row in rows:
        print(f"{row.what:62} {row.value:8.2f} {row.unit:6} n={row.n:<5} {row.goal}")


def processor_time(archive: Path, folder: Path, picture: bytes) -> list[Row]:
    """Ask two model servers in turns: what a picture takes of the processor on one thread and on two."""
    unpack(archive, folder)
    used: dict[int, list[float]] = {1: [], 2: []}
    with model_server(folder, 1) as one, model_server(folder, 2) as two:
        for _ in range(ROUNDS + 1):
            for threads, (process, port) in ((1, one), (2, two)):
                used[threads].append(processor_ms(process, port, picture))
    return [
        Row(f"model server: CPU a picture, {threads} thread(s), median", statistics.median(values[1:]), "ms",
            ROUNDS * REQUESTS)
        for threads, values in used.items()
    ]  # fmt: skip


def processor_ms(process: psutil.Process, port: int, picture: bytes) -> float:
    """Return the milliseconds of processor time a picture."""
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
    """Run one model server as localaws does; yield its process and port once it answers."""
    port = free_port()
    limits = {"INFERENCE_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    environment = {**os.environ, **limits, "SM_MODEL_DIR": str(folder), "SAGEMAKER_BIND_TO_PORT": str(port)}
    command = [sys.executable, "-m", "localaws.sagemaker.model_server"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(port))
            yield psutil.Process(process.pid), port
        finally:
            process.terminate()


def answers(port: int) -> bool:
    """Return whether a model server answers its ping."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    main()
