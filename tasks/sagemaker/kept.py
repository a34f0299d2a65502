"""What a run keeps of SageMaker's training on this machine: the model, the log of all hosts, the metrics.

They lie in `runs/<id>/TrainedModels/sagemaker/`; `metrics.json` is written last, so that it says that the others are
whole. The model is fetched once: its meta is read from the file that is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.account.logs import LogFollower, LogLine
from tasks.account.objects import fetch_object
from tasks.account.roles import TRAINING_LOG_GROUP
from tasks.run.errors import KennelError
from tasks.run.handle import Run, RunFolder
from tasks.run.record_store import Record, write_atomically
from tasks.run.records import TrainedModel
from tasks.run.waiting import say
from tasks.sagemaker.job import TrainingPlan
from tasks.sagemaker.result import read_result, reported_metrics

FOLDER = Path("TrainedModels") / "sagemaker"
MODEL, LOG = "model.tar.gz", "training.log"


@dataclass(frozen=True)
class KeptTraining(Record, file=f"{FOLDER}/metrics.json", called="kept training", made_by="train_sagemaker"):
    """What is kept of a training; `model_etag` is S3's, `job_created` tells a job from a later one of its name.

    `metrics` are the model's own, `reported` what SageMaker parsed from the log, `log_lines` None when there is no log.
    """

    job_name: str
    job_created: str
    model_uri: str
    model_etag: str
    model_sha256: str
    model_bytes: int
    metrics: Mapping[str, float]
    reported: Mapping[str, float]
    log_lines: int | None


def load_kept(run: RunFolder) -> KeptTraining | None:
    """Return what is kept of a run's training, None when it is not whole.

    Raises:
        LedgerRefused: the record cannot be read.
    """
    kept, archive = run.find(KeptTraining), run.folder / FOLDER / MODEL
    if kept is None or not archive.is_file() or archive.stat().st_size != kept.model_bytes:
        return None
    return kept


def kept_markdown(run: RunFolder) -> list[str]:
    """Return lines of Markdown that link what is kept, by paths from the run's folder; none when nothing is.

    Raises:
        LedgerRefused: the record cannot be read.
    """
    kept = load_kept(run)
    if kept is None:
        return []
    lines = [f"- [{FOLDER / MODEL}]({FOLDER / MODEL}): {kept.model_bytes / 1e6:.1f} MB, sha256 `{kept.model_sha256}`"]
    if kept.log_lines is not None:
        lines.append(f"- [{FOLDER / LOG}]({FOLDER / LOG}): the log of all hosts, {kept.log_lines:,} lines")
    return ["Kept beside this report:", "", *lines, f"- [{KeptTraining.file}]({KeptTraining.file}): the metrics", ""]


def is_kept(run: RunFolder, description: Mapping[str, Any]) -> bool:
    """Tell whether the training that a job's description is of is kept here."""
    kept = load_kept(run)
    named = str(description["TrainingJobName"]), _created(description)
    return kept is not None and (kept.job_name, kept.job_created) == named


def keep_result(run: Run, plan: TrainingPlan, description: Mapping[str, Any]) -> TrainedModel:
    """Fetch a completed job's model, hold it against its job, keep it with log and metrics; return its record.

    Raises:
        StageFailed: the artefact is damaged or hostile, or it, the job's metrics and the data disagree; a model that
            was kept before is left.
        AwsFailed: S3 refused.
    """
    folder, uri = run.folder / FOLDER, str(description["ModelArtifacts"]["S3ModelArtifacts"])
    fetched = folder / f".{MODEL}.fetched"
    try:
        etag = fetch_object(run.aws, uri, fetched)
        model = read_result(plan, description, fetched)
        run.forget(KeptTraining)
        fetched.replace(folder / MODEL)
    finally:
        fetched.unlink(missing_ok=True)
    with (folder / MODEL).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    kept = KeptTraining(
        job_name=model.job_name,
        job_created=_created(description),
        model_uri=uri,
        model_etag=etag,
        model_sha256=digest,
        model_bytes=(folder / MODEL).stat().st_size,
        metrics=model.metrics,
        reported=reported_metrics(description),
        log_lines=keep_log(run, model.job_name),
    )
    path = run.keep(kept)
    log = "" if kept.log_lines is None else f"{LOG} ({kept.log_lines:,} lines), "
    say(f"kept in {folder}: {MODEL} ({kept.model_bytes / 1e6:.1f} MB), {log}{path.name}")
    return model


def keep_log(run: Run, job_name: str) -> int | None:
    """Write the log of all hosts in order of time, and return its number of lines; None, and said, when it cannot be.

    A training is not worth less for a log that CloudWatch does not give, or the disk does not take.
    """
    try:
        lines = LogFollower(run.aws, TRAINING_LOG_GROUP, f"{job_name}/").poll()
        write_atomically(run.folder / FOLDER / LOG, "".join(f"{_log_text(line)}\n" for line in lines).encode())
    except KennelError as error:
        say(f"training log: not kept: {error.what}: {error.why}")
        return None
    except OSError as error:
        say(f"training log: not kept: {error}")
        return None
    return len(lines)


def _created(description: Mapping[str, Any]) -> str:
    return str(description["CreationTime"].astimezone(UTC).isoformat())


def _log_text(line: LogLine) -> str:
    moment = datetime.fromtimestamp(line.timestamp_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{line.timestamp_ms % 1000:03d}Z {line}"
