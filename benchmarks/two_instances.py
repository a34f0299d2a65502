"""Compare training on one instance and on two: the time of the embedding phase, and the weights of the heads.

    python -m benchmarks.two_instances --data ../shared/data/dogImages-21breeds.zip --images 1200

Each instance is a process that is pinned to one core. Of two instances each has half of the shards, as with
ShardedByS3Key, and they communicate by gloo. The runs take turns; the ratio is the median of the rounds'.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file

from benchmarks.figures import Figure, arguments, of, publish, ratio_of
from benchmarks.staged_photos import channels, read_zip, repeated, write_shards
from training.imagenet import export_packaged

GOAL = "goal >= 1.9"
TOLERANCE = 1e-5
ROOT = Path(__file__).resolve().parents[1]
HEAD = ("head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def share_out(root: Path, hosts: int, target: Path) -> list[Path]:
    """Make each host's channels: every `hosts`-th shard and the whole manifest."""
    made = []
    for rank in range(hosts):
        host = target / f"{hosts}-{rank}"
        for split in ("train", "validation", "test"):
            (host / split).mkdir(parents=True)
            for path in sorted((root / split).glob("*.tar"))[rank::hosts]:
                (host / split / path.name).symlink_to(path)
        (host / "manifest").symlink_to(root / "manifest")
        made.append(host)
    return made


def run(hosts: list[Path], model: Path, weights: Path | None, settings: list[str]) -> dict[str, float]:
    """Run one job with a process per host, each on one core; return the seconds of each phase and of the whole.

    Raises:
        SystemExit: the job failed on a host.
    """
    cores = sorted(os.sched_getaffinity(0))
    shared = {"WORLD_SIZE": str(len(hosts)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = time.perf_counter()
    jobs = []
    for rank, host in enumerate(hosts):
        command = [
            "taskset",
            "-c",
            str(cores[rank]),
            sys.executable,
            "-m",
            "training.train",
            *settings,
            "--threads",
            "1",
        ]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo", "RANK": str(rank), **shared}
        command += channels(host, model, weights)
        jobs.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL))
    codes = [job.wait(timeout=3600) for job in jobs]
    if any(codes):
        raise SystemExit(f"the job on {len(hosts)} host(s) ended with the exit statuses {codes}")
    meta = json.loads((model / "meta.json").read_text())
    return {**meta["seconds"], "whole": time.perf_counter() - started}


def largest_difference(first: Path, second: Path) -> float:
    """Return the largest difference of a weight between the heads of two models."""
    one, two = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    return max(float((one[name] - two[name]).abs().max()) for name in HEAD)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a zip in the reference layout")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("the benchmark needs two cores, one for each instance")

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_shards(repeated(read_zip(given.data), given.images), root / "all")
        weights = root / "weights" if given.backbone == "efficientnet_lite0" else None
        if weights:
            export_packaged(given.backbone, weights / "backbone.safetensors")
        settings = f"--backbone {given.backbone} --views {given.views} --epochs 3 --batch-size 256".split()
        hosts = {count: share_out(root / "all", count, root / "hosts") for count in (1, 2)}
        runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
        for _ in range(given.repeats):
            for count in (1, 2):
                runs[count].append(run(hosts[count], root / f"model-{count}", weights, settings))
        what = f"{given.backbone}, {given.images:,} pictures, {given.views} views, one core an instance."
        publish(figures_of(runs), [what, heads_note(largest_difference(root / "model-1", root / "model-2"))])


def figures_of(runs: dict[int, list[dict[str, float]]]) -> list[Figure]:
    """Return the speed-ups of two instances, and the seconds of both numbers of them."""
    of_phase = {phase: [[run[phase] for run in runs[count]] for count in (1, 2)] for phase in ("embed", "whole")}
    return [
        ratio_of("embedding", of_phase["embed"][1], of_phase["embed"][0], GOAL),
        ratio_of("whole job", of_phase["whole"][1], of_phase["whole"][0]),
        *(
            of(f"{phase}, {count} instance(s)", of_phase[phase][count - 1], "s")
            for phase in of_phase
            for count in (1, 2)
        ),
    ]


def heads_note(difference: float) -> str:
    """Return what is to be said of the heads of both."""
    verdict = "equal" if difference <= TOLERANCE else "NOT equal"
    return f"Heads: largest difference of a weight {difference:.1e}: {verdict} within {TOLERANCE:.0e}."


if __name__ == "__main__":
    main()
