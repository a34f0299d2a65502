"""Train on one EC2 instance without anybody watching: what SageMaker's agent does around a job, as one plain script.

    PYTHONPATH=~/job/code /opt/pytorch/bin/python -m training.on_instance ~/job/spec.json

The stages, in reading order (`supervise` below): install what the training code needs; fetch inputs and checkpoints
from S3 with the instance's role, each checked by sha256; run training/train.py, alone or as one host of a torchrun;
keep the checkpoints in S3 if the instance may be taken back; pack TrainedModels/ into model.tar.gz. Runs detached: the
connection that started it may break. Whoever watches reads status.json beside spec.json, always a whole JSON object,
and what it prints. SIGTERM and a spot notice end the training with a checkpoint and the state "interrupted".

Standard library, and boto3 once it is installed. Touches the folder of spec.json only.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.failures import Interrupted, TrainingFailure
from training.instance_storage import Bucket, Checkpoints, sha256_of

STATUS_BYTES = 16_384  # of status.json, reserved from the start: a full disk must not keep the reason from being told
STOP_SECONDS = 120.0  # from SIGTERM to SIGKILL, as SageMaker gives it and a spot notice allows
SPOT_SECONDS = 5.0  # AWS's advice for how often to ask
SYNC_SECONDS = 10.0
POLL_SECONDS = 0.2
TAIL_CHARACTERS = 2000
FULL_BYTES = 1 << 20
INTERRUPTED = 143
IMDS = "http://169.254.169.254"
RENDEZVOUS_PORT = 7777


@dataclass(frozen=True)
class Input:
    """One object to fetch into data/`folder`."""

    key: str
    folder: str
    sha256: str


@dataclass(frozen=True)
class Spec:
    """What spec.json says. `hosts` are private addresses in rank order; `checkpoints` an S3 prefix or None."""

    region: str
    bucket: str
    inputs: tuple[Input, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    hosts: tuple[str, ...]
    rank: int
    processes_per_host: int
    checkpoints: str | None
    is_spot: bool
    max_runtime_seconds: float

    @classmethod
    def read(cls, path: Path) -> "Spec":
        """Read it; a missing or unknown field is a TypeError."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields["inputs"] = tuple(Input(**entry) for entry in fields["inputs"])
        return cls(**fields | {name: tuple(fields[name]) for name in ("arguments", "hosts")})


class Status:
    """status.json: state, error, the seconds of each phase, and in the end the model's digest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.content: dict[str, Any] = {"state": "starting", "pid": os.getpid(), "seconds": {}, "error": None}
        self._write(path)

    def update(self, **changes: Any) -> None:
        """Change fields; a reader sees the old file or the new one. On a full disk the reserved bytes are used."""
        with self._lock:
            self.content |= changes
            temporary = self._path.with_suffix(".part")
            try:
                self._write(temporary)
                temporary.replace(self._path)
            except OSError:
                self._overwrite()

    def _write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            file.write(json.dumps(self.content).ljust(STATUS_BYTES))
            file.flush()
            os.fsync(file.fileno())

    def _overwrite(self) -> None:
        with self._path.open("r+b") as file:
            file.write(json.dumps(self.content).encode().ljust(STATUS_BYTES)[:STATUS_BYTES])


@dataclass
class Job:
    """One job on this instance; `stopping` says that it must end, and `why`."""

    spec: Spec
    folder: Path
    status: Status
    stopping: threading.Event = field(default_factory=threading.Event)
    why: str = ""

    @property
    def models(self) -> Path:
        """Where the model is saved."""
        return self.folder / "TrainedModels"

    def stop(self, why: str) -> None:
        """Have the training end with a checkpoint."""
        self.why = self.why or why
        self.stopping.set()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase; it is the state that status.json shows meanwhile."""
        if self.stopping.is_set():
            raise Interrupted(self.why)
        self.status.update(state=name)
        begun = time.perf_counter()
        yield
        seconds = self.status.content["seconds"] | {name: round(time.perf_counter() - begun, 3)}
        self.status.update(seconds=seconds)


def say(message: str) -> None:
    """Write one line to the log."""
    print(f"instance: {message}", flush=True)


# --- the job ----------------------------------------------------------------------------------------------------------


def supervise(job: Job) -> None:
    """Run every stage.

    Raises:
        TrainingFailure: no model can come of it. Interrupted: it was told to stop; the checkpoints are in S3.
    """
    with job.phase("installing"):
        install(job.folder / "code" / "training" / "requirements.txt")
    with job.phase("fetching"):
        bucket = Bucket(job.spec.bucket, job.spec.region)
        fetch_inputs(job, bucket)
        checkpoints = Checkpoints(bucket, job.spec.checkpoints, job.folder / "checkpoints", say)
        checkpoints.fetch()
    with job.phase("training"):
        try:
            train(job, checkpoints)
        finally:
            checkpoints.send()
    if job.spec.rank == 0:
        with job.phase("packing"):
            job.status.update(model=pack(job.models, job.folder / "model.tar.gz"))


def install(requirements: Path) -> None:
    """Install the training code's packages and boto3 into the interpreter's environment, which root may own."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--requirement", str(requirements), "boto3"]
    done = subprocess.run(["sudo", "-n", *command], capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise TrainingFailure(
            f"pip install ended with {done.returncode}: {(done.stderr or done.stdout)[-TAIL_CHARACTERS:]}"
        )


def fetch_inputs(job: Job, bucket: Bucket) -> None:
    """Fetch what is not there yet; an object that arrives damaged twice is a failure.

    Raises:
        TrainingFailure: the object's name and both digests.
    """
    for wanted in job.spec.inputs:
        if job.stopping.is_set():
            raise Interrupted(job.why)
        path = job.folder / "data" / wanted.folder / Path(wanted.key).name
        if path.is_file() and sha256_of(path) == wanted.sha256:
            continue
        found = [bucket.get(wanted.key, path)]
        if found[0] != wanted.sha256:
            found.append(bucket.get(wanted.key, path))
        if found[-1] != wanted.sha256:
            path.unlink()
            raise TrainingFailure(f"s3 object {wanted.key} arrived with sha256 {found[-1]}, not {wanted.sha256}, twice")
    say(f"{len(job.spec.inputs)} inputs are here, their sha256 checked")


# --- the training -----------------------------------------------------------------------------------------------------


def train(job: Job, checkpoints: Checkpoints) -> None:
    """Run train.py to its end, storing checkpoints and listening for the end of the instance meanwhile.

    Raises:
        TrainingFailure, Interrupted: as `supervise`.
    """
    output = job.folder / "output"
    (output / "failure").unlink(missing_ok=True)
    job.status.update(command=command_of(job))
    trainer = subprocess.Popen(
        command_of(job), cwd=job.folder / "code", env=environment_of(job), start_new_session=True
    )
    deadline = time.monotonic() + job.spec.max_runtime_seconds
    synced = time.monotonic()
    while trainer.poll() is None:
        if job.stopping.wait(POLL_SECONDS):
            _end(trainer)
        elif time.monotonic() > deadline:
            _end(trainer)
            raise TrainingFailure(f"it ran longer than the {job.spec.max_runtime_seconds:g} s allowed")
        elif time.monotonic() - synced > SYNC_SECONDS:
            checkpoints.send()
            synced = time.monotonic()
    _judge(job, trainer.returncode, output / "failure")


def command_of(job: Job) -> list[str]:
    """Return the command: the script itself, or torchrun's module where there are several processes."""
    folder, spec = job.folder, job.spec
    channels = [f"--{name}={folder / 'data' / name}" for name in sorted({wanted.folder for wanted in spec.inputs})]
    folders = [f"--model-dir={job.models}", f"--output-dir={folder / 'output'}"]
    folders += [f"--checkpoint-dir={folder / 'checkpoints'}"]
    script = ["training/train.py", *spec.arguments, *channels, *folders]
    if len(spec.hosts) * spec.processes_per_host == 1:
        return [sys.executable, *script]
    torchrun = [
        *("torch.distributed.run", f"--nnodes={len(spec.hosts)}", f"--node_rank={spec.rank}"),
        *(f"--nproc_per_node={spec.processes_per_host}", f"--master_addr={spec.hosts[0]}"),
        f"--master_port={RENDEZVOUS_PORT}",
    ]
    return [sys.executable, "-m", *torchrun, *script]


def environment_of(job: Job) -> dict[str, str]:
    """Return the script's environment: this one's, the spec's, the code's path, the interface to the other hosts."""
    interface = default_interface()
    sockets = dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), interface) if interface else {}
    return {
        **os.environ,
        **sockets,
        **job.spec.environment,
        "PYTHONPATH": str(job.folder / "code"),
        "PYTHONUNBUFFERED": "1",
        "SM_CURRENT_HOST": f"instance-{job.spec.rank + 1}",
    }


def default_interface(table: Path = Path("/proc/net/route")) -> str | None:
    """Return the interface of the default route, on which the hosts have their private addresses; None without one."""
    rows = [line.split() for line in table.read_text().splitlines()[1:]] if table.exists() else []
    return next((row[0] for row in rows if row[1] == "00000000"), None)


def _end(trainer: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, up to 120 s for the checkpoint, SIGKILL for the whole session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(trainer.pid, number)
            trainer.wait(STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _judge(job: Job, status: int, failure: Path) -> None:
    if status == 0:
        return
    if job.stopping.is_set() or status == INTERRUPTED:
        raise Interrupted(job.why or "the training was stopped")
    said = failure.read_text(errors="replace").strip() if failure.is_file() else ""
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        said = f"{said} it was killed (SIGKILL): the instance most likely ran out of memory".strip()
    elif shutil.disk_usage(job.folder).free < FULL_BYTES:
        said = f"{said} the instance's disk is full".strip()
    raise TrainingFailure(said or f"train.py ended with exit status {status}; the log says why")


def pack(models: Path, archive: Path) -> dict[str, Any]:
    """Pack the model folder as SageMaker does; return the archive's name, size and sha256."""
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w:gz", compresslevel=1) as tar:
        for path in sorted(models.iterdir()):
            tar.add(path, path.name)
    part.replace(archive)
    return {"path": str(archive), "size_bytes": archive.stat().st_size, "sha256": sha256_of(archive)}


# --- the end of the instance ------------------------------------------------------------------------------------------


def watch_spot(job: Job, ask: Callable[[str], str | None]) -> None:
    """Stop the job when EC2 says that it takes the instance back (two minutes before it does)."""
    while not job.stopping.wait(SPOT_SECONDS):
        notice = ask("meta-data/spot/instance-action")
        if notice is not None:
            say(f"EC2 takes this instance back: {notice.strip()}")
            job.status.update(spot_notice=notice.strip())
            job.stop("EC2 takes the spot instance back")


def ask_imds(path: str) -> str | None:
    """Return what instance metadata (v2) says, None where it says nothing."""
    base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", IMDS).rstrip("/") + "/latest"  # as AWS's SDKs do
    try:
        token = _request(f"{base}/api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        return _request(f"{base}/{path}", "GET", {"X-aws-ec2-metadata-token": token})
    except (urllib.error.URLError, OSError):
        return None


def _request(url: str, method: str, headers: Mapping[str, str]) -> str:
    request = urllib.request.Request(url, method=method, headers=dict(headers))  # noqa: S310 a fixed http address
    with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310
        return str(answer.read().decode())


# --- the process ------------------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Entry point; returns 0 with a model, 1 without, 143 when interrupted."""
    path = Path(arguments[0]).resolve()
    job = Job(Spec.read(path), path.parent, Status(path.with_name("status.json")))
    signal.signal(signal.SIGTERM, lambda *_: job.stop("somebody stopped it (SIGTERM)"))
    if job.spec.is_spot:
        threading.Thread(target=watch_spot, args=(job, ask_imds), daemon=True).start()
    try:
        supervise(job)
    except Interrupted as stop:
        job.status.update(state="interrupted", error=str(stop))
        say(f"INTERRUPTED: {stop}")
        return INTERRUPTED
    except Exception as error:
        reason = str(error) if isinstance(error, TrainingFailure) else f"{type(error).__name__}: {error}"
        job.status.update(state="failed", error=reason[:TAIL_CHARACTERS])
        say(f"FAILED: {reason}")
        if isinstance(error, TrainingFailure):
            return 1
        raise
    job.status.update(state="completed")
    say(f"done: {json.dumps(job.status.content['seconds'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
