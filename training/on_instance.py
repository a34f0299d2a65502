"""Train on one EC2 instance unattended: do around train.py what SageMaker's agent does around a training job.

    PYTHONPATH=~/job/code /opt/pytorch/bin/python -m training.on_instance ~/job/spec.json

The stages, in reading order (`supervise` below): install the packages of the training code; fetch inputs and
checkpoints from S3 with the instance's role, and check the sha256 of each input; run training/train.py, alone or as one
host of a torchrun; store the checkpoints in S3 if the job has a prefix for them; pack TrainedModels/ into model.tar.gz.

The script runs detached, so the SSH connection that started it may break. The flow follows it by its output and by
status.json, which lies beside spec.json and is always a complete JSON object. On SIGTERM or a spot interruption notice
the training writes a checkpoint and ends, and the state is "interrupted".

Uses the standard library, and boto3 once it is installed. Touches the folder of spec.json only.
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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from training.failures import Interrupted, TrainingFailure
from training.instance_job import Job, Spec, Status
from training.instance_storage import Bucket, Checkpoints, sha256_of

STOP_SECONDS = 120.0  # from SIGTERM to SIGKILL: what SageMaker gives, and what a spot notice allows
SPOT_POLL_SECONDS = 5.0  # AWS recommends to check for a notice every 5 s
SYNC_SECONDS = 10.0
POLL_SECONDS = 0.2
TAIL_CHARACTERS = 2000  # of pip's output or an error, as status.json holds them
DISK_FULL_BYTES = 1 << 20  # with less free space a failure is attributed to the full disk
EXIT_INTERRUPTED = 143
IMDS = "http://169.254.169.254"
RENDEZVOUS_PORT = 7777


def say(message: str) -> None:
    """Write one line to the log."""
    print(f"instance: {message}", flush=True)


# --- the job ----------------------------------------------------------------------------------------------------------


def supervise(job: Job) -> None:
    """Run every stage.

    Raises:
        TrainingFailure: the job cannot produce a model.
        Interrupted: the job was requested to stop; its checkpoints are in S3 if it has a prefix for them.
    """
    with job.phase("installing"):
        install(job.folder / "code" / job.spec.requirements)
    with job.phase("fetching"):
        bucket = Bucket(job.spec.bucket, job.spec.region, job.spec.encryption)
        fetch_inputs(job, bucket)
        checkpoints = Checkpoints(bucket, job.spec.checkpoints, job.folder / "checkpoints", say)
        checkpoints.fetch()
    with job.phase("training"):
        try:
            train(job, checkpoints)
        finally:
            checkpoints.store()
    if job.spec.rank == 0:
        with job.phase("packing"):
            job.status.update(model=pack(job.models, job.folder / "model.tar.gz"))


def install(requirements: Path) -> None:
    """Install the training code's packages and boto3, with sudo because root may own the Python environment.

    Raises:
        TrainingFailure: pip failed; the message has the end of its output.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--requirement", str(requirements), "boto3"]
    done = subprocess.run(["sudo", "-n", *command], capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise TrainingFailure(
            f"pip install ended with exit status {done.returncode}: {(done.stderr or done.stdout)[-TAIL_CHARACTERS:]}"
        )


def fetch_inputs(job: Job, bucket: Bucket) -> None:
    """Fetch the inputs that are not here yet; fetch an input again if its sha256 is wrong.

    Raises:
        TrainingFailure: an input's sha256 was wrong twice.
        Interrupted: the job was requested to stop.
    """
    for wanted in job.spec.inputs:
        job.raise_if_stopping()
        path = job.folder / "data" / wanted.folder / Path(wanted.key).name
        if path.is_file() and sha256_of(path) == wanted.sha256:
            continue
        found = [bucket.get(wanted.key, path)]
        if found[0] != wanted.sha256:
            found.append(bucket.get(wanted.key, path))
        if found[-1] != wanted.sha256:
            path.unlink()
            raise TrainingFailure(
                f"the S3 object {wanted.key} arrived damaged twice: its sha256 is {found[-1]}, not {wanted.sha256}"
            )
    say(f"{len(job.spec.inputs)} inputs are here, and their sha256 is correct")


# --- the training -----------------------------------------------------------------------------------------------------


def train(job: Job, checkpoints: Checkpoints) -> None:
    """Run train.py to its end; meanwhile store its checkpoints in S3 and watch for a request to stop.

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
            _terminate(trainer)
        elif time.monotonic() > deadline:
            _terminate(trainer)
            raise TrainingFailure(f"the training ran longer than the {job.spec.max_runtime_seconds:g} s allowed")
        elif time.monotonic() - synced > SYNC_SECONDS:
            checkpoints.store()
            synced = time.monotonic()
    _raise_for_status(job, trainer.returncode, output / "failure")


def command_of(job: Job) -> list[str]:
    """Return the training command: train.py itself, or torchrun when a host has several processes."""
    folder, spec = job.folder, job.spec
    channels = [f"--{name}={folder / 'data' / name}" for name in sorted({wanted.folder for wanted in spec.inputs})]
    folders = [f"--model-dir={job.models}", f"--output-dir={folder / 'output'}"]
    folders += [f"--checkpoint-dir={folder / 'checkpoints'}"]
    script = ["training/train.py", *spec.arguments, *channels, *folders]
    if spec.processes_per_host == 1:
        return [sys.executable, *script]
    torchrun = [
        *("torch.distributed.run", f"--nnodes={len(spec.hosts)}", f"--node_rank={spec.rank}"),
        *(f"--nproc_per_node={spec.processes_per_host}", f"--master_addr={spec.hosts[0]}"),
        f"--master_port={RENDEZVOUS_PORT}",
    ]
    return [sys.executable, "-m", *torchrun, *script]


def environment_of(job: Job) -> dict[str, str]:
    """Return the environment of train.py: this process's, the spec's, and what tells it where it runs."""
    return {
        **os.environ,
        **job.spec.environment,
        "PYTHONPATH": str(job.folder / "code"),
        "PYTHONUNBUFFERED": "1",
        "SM_CURRENT_HOST": f"instance-{job.spec.rank + 1}",
        "SM_CURRENT_HOST_RANK": str(job.spec.rank),
        "SM_HOST_COUNT": str(len(job.spec.hosts)),
        "SM_MASTER_ADDR": job.spec.hosts[0],
        "SM_MASTER_PORT": str(RENDEZVOUS_PORT),
    }


def _terminate(trainer: "subprocess.Popen[bytes]") -> None:
    """Send SIGTERM to the whole session, give it 120 s to write a checkpoint, then send SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(trainer.pid, number)
            trainer.wait(STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _raise_for_status(job: Job, status: int, failure: Path) -> None:
    if status == 0:
        return
    if job.stopping.is_set() or status == EXIT_INTERRUPTED:
        raise Interrupted(job.stop_reason or "train.py was interrupted")
    message = failure.read_text(errors="replace").strip() if failure.is_file() else ""
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        message = f"{message} train.py was killed (SIGKILL): the instance most likely ran out of memory".strip()
    elif shutil.disk_usage(job.folder).free < DISK_FULL_BYTES:
        message = f"{message} the instance's disk is full".strip()
    raise TrainingFailure(message or f"train.py ended with exit status {status}; its log has the cause")


def pack(models: Path, archive: Path) -> dict[str, Any]:
    """Pack the model folder like SageMaker does; return the archive's path, size and sha256."""
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w:gz", compresslevel=1) as tar:
        for path in sorted(models.iterdir()):
            tar.add(path, path.name)
    part.replace(archive)
    return {"path": str(archive), "size_bytes": archive.stat().st_size, "sha256": sha256_of(archive)}


# --- spot interruption -----------------------------------------------------------------------------------------------


def watch_spot(job: Job, read_metadata: Callable[[str], str | None]) -> None:
    """Stop the job on a spot interruption notice, which EC2 gives two minutes before it takes the instance back."""
    while not job.stopping.wait(SPOT_POLL_SECONDS):
        notice = read_metadata("meta-data/spot/instance-action")
        if notice is not None:
            say(f"EC2 will take this spot instance back: {notice.strip()}")
            job.status.update(spot_notice=notice.strip())
            job.stop("EC2 takes the spot instance back")


def read_instance_metadata(path: str) -> str | None:
    """Return a value of the instance metadata service (IMDSv2), or None when there is none or it cannot be read."""
    base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", IMDS).rstrip("/") + "/latest"  # as AWS's SDKs
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
    """Run the job of a spec.json; return 0 with a model, 1 after a TrainingFailure, 143 when interrupted."""
    path = Path(arguments[0]).resolve()
    job = Job(Spec.read(path), path.parent, Status(path.with_name("status.json")))
    signal.signal(signal.SIGTERM, lambda *_: job.stop("the job received SIGTERM"))
    if job.spec.is_spot:
        threading.Thread(target=watch_spot, args=(job, read_instance_metadata), daemon=True).start()
    try:
        supervise(job)
    except Interrupted as interruption:
        job.status.update(state="interrupted", error=str(interruption))
        say(f"INTERRUPTED: {interruption}")
        return EXIT_INTERRUPTED
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
