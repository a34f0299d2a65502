"""Downloads the result of a training on SageMaker to this machine: the model, the log of all hosts and the metrics.

The files are in `runs/<id>/TrainedModels/sagemaker/`. `metrics.json` is written last: where it exists, the other files
are complete. The model is downloaded once, and its metadata is read from the downloaded file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.account.logs import LogFollower, LogLine
from tasks.account.objects import fetch_object
from tasks.account.role_policies import TRAINING_LOG_GROUP
from tasks.run.errors import KennelError
from tasks.run.escaping import code_span, markdown_link, terminal_text
from tasks.run.handle import Run, RunFolder
from tasks.run.record_store import Count, Record, write_atomically
from tasks.run.records import TrainedModel
from tasks.run.sealed import sha256_of
from tasks.run.waiting import say
from tasks.sagemaker.job_plan import TrainingPlan
from tasks.sagemaker.result import read_result, reported_metrics, wait_for_metrics

FOLDER = Path("TrainedModels") / "sagemaker"
MODEL, LOG = "model.tar.gz", "training.log"
MODEL_FILE = FOLDER / MODEL
"""Of a run's folder."""


@dataclass(frozen=True)
class DownloadedTraining(
    Record,
    file=f"{FOLDER}/metrics.json",
    called="downloaded training",
    made_by="train_sagemaker",
    stored_as="KeptTraining",
):
    """The record of a downloaded training.

    `model_etag` is S3's. `job_created` tells a job from a later job of the same name. `metrics` come from the model,
    `reported` are those that SageMaker parsed from the log. `log_lines` is None when there is no log.
    """

    job_name: str
    job_created: str
    model_uri: str
    model_etag: str
    model_sha256: str
    model_bytes: Count
    metrics: Mapping[str, float]
    reported: Mapping[str, float]
    log_lines: Count | None


def load_download(run: RunFolder) -> DownloadedTraining | None:
    """Return the record of a run's downloaded training, or None when there is none or the model file is not whole.

    Raises:
        LedgerRefused: the record cannot be read.
    """
    found, archive = run.find(DownloadedTraining), run.folder / FOLDER / MODEL
    if found is None or not archive.is_file() or archive.stat().st_size != found.model_bytes:
        return None
    if sha256_of(archive) != found.model_sha256:
        say(f"WARNING: {archive} is damaged: its sha256 is not the one in {DownloadedTraining.file}")
        return None
    return found


def download_markdown(run: RunFolder) -> list[str]:
    """Return lines of Markdown that link the downloaded files, relative to the run's folder; none without a download.

    Raises:
        LedgerRefused: the record cannot be read.
    """
    found = load_download(run)
    if found is None:
        return []
    model, log, metrics = FOLDER / MODEL, FOLDER / LOG, DownloadedTraining.file
    size = f"{found.model_bytes / 1e6:.1f} MB, sha256 {code_span(found.model_sha256)}"
    files = {str(model): size}
    if found.log_lines is not None:
        files[str(log)] = f"the log of all hosts, {found.log_lines:,} lines"
    lines = [f"- {markdown_link(path, path)}: {text}" for path, text in (files | {metrics: "the metrics"}).items()]
    return ["These files are beside this report:", "", *lines, ""]


def is_downloaded(run: RunFolder, description: Mapping[str, Any]) -> bool:
    """Tell whether the result of the described job is on this machine.

    Raises:
        LedgerRefused: the record cannot be read.
    """
    found = load_download(run)
    job = str(description["TrainingJobName"]), _created(description)
    return found is not None and (found.job_name, found.job_created) == job


def download_result(run: Run, plan: TrainingPlan, description: Mapping[str, Any]) -> TrainedModel:
    """Download a completed job's model, check it against the job, and store it with log and metrics; return its record.

    Raises:
        StageFailed: the artefact is damaged or hostile, or it, the job's metrics and the data disagree; a model that
            was downloaded before stays as it is.
        AwsFailed: S3 refused.
    """
    description = wait_for_metrics(run.aws, description)
    folder, uri = run.folder / FOLDER, str(description["ModelArtifacts"]["S3ModelArtifacts"])
    fetched = folder / f".{MODEL}.fetched"
    try:
        etag = fetch_object(run.aws, uri, fetched)
        model = read_result(plan, description, fetched)
        run.forget(DownloadedTraining)
        fetched.replace(folder / MODEL)
    finally:
        fetched.unlink(missing_ok=True)
    record = DownloadedTraining(
        job_name=model.job_name,
        job_created=_created(description),
        model_uri=uri,
        model_etag=etag,
        model_sha256=sha256_of(folder / MODEL),
        model_bytes=(folder / MODEL).stat().st_size,
        metrics=model.metrics,
        reported=reported_metrics(description),
        log_lines=download_log(run, model.job_name),
    )
    path = run.keep(record)
    log = "" if record.log_lines is None else f"{LOG} ({record.log_lines:,} lines), "
    say(f"downloaded to {folder}: {MODEL} ({record.model_bytes / 1e6:.1f} MB), {log}{path.name}")
    return model


def download_log(run: Run, job_name: str) -> int | None:
    """Write the log of all hosts in order of time and return the number of lines, or None when that failed.

    A missing log is reported and is no error: the training is as good without it.
    """
    try:
        lines = LogFollower(run.aws, TRAINING_LOG_GROUP, f"{job_name}/").poll()
        write_atomically(
            run.folder / FOLDER / LOG,
            "".join(f"{terminal_text(_log_text(line))}\n" for line in lines).encode(),
        )
    except KennelError as error:
        say(f"the training log could not be downloaded: {error.what}: {error.why}")
        return None
    except OSError as error:
        say(f"the training log could not be written: {error}")
        return None
    return len(lines)


def _created(description: Mapping[str, Any]) -> str:
    return str(description["CreationTime"].astimezone(UTC).isoformat())


def _log_text(line: LogLine) -> str:
    try:
        moment = datetime.fromtimestamp(line.timestamp_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):  # beyond the years that Python knows
        return f"{line.timestamp_ms} ms {line}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{line.timestamp_ms % 1000:03d}Z {line}"
