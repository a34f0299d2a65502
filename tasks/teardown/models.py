"""Copies the models that a teardown would delete to this machine, and reports those that cannot be copied.

The heads of a search's trials are no models of the run's. A model has a copy already when its run's folder contains it:
downloaded after its training, or by an earlier teardown. All others are downloaded to `runs/<id>/TrainedModels/<job>/`
before anything is removed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.account import objects
from tasks.account.objects import StoredObject, fetch_object
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import KennelError, LedgerRefused, SettingsRefused
from tasks.run.handle import RunFolder
from tasks.run.record_store import write_atomically
from tasks.run.records import InstanceModel
from tasks.run.sealed import sha256_of
from tasks.sagemaker.download import FOLDER, MODEL, load_download
from tasks.teardown.plan import Plan

WHERE = "teardown"
_MODEL_KEY = re.compile(rf"runs/(?P<run>[^/]+)/(?!trials/).*/(?P<job>[^/]+)/output/{re.escape(MODEL)}$")
Say = Callable[[str], None]


@dataclass(frozen=True)
class ModelCopies:
    """The models that a teardown deletes: `kept` are the paths of copies, `lost` those without one, with the reason."""

    kept: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


NO_COPIES = ModelCopies()


@dataclass(frozen=True)
class StoredModel:
    """A model in the bucket, and the run and the job that it is from."""

    bucket: str
    run_id: str
    job: str
    stored: StoredObject

    @property
    def uri(self) -> str:
        """The model's S3 URI."""
        return f"s3://{self.bucket}/{self.stored.key}"


def keep_models(aws: Aws, plan: Plan, *, yes: bool, say: Say) -> ModelCopies:
    """Make sure that this machine has a copy of every model that the plan deletes; call it before removing anything.

    Raises:
        SettingsRefused: a model cannot be copied and would be lost, and `yes` is not given.
        AwsFailed: S3 refused to list the models.
    """
    kept: list[str] = []
    lost: list[str] = []
    for model in models_of(aws, plan):
        try:
            kept.append(str(_copy_of(aws, model, say)))
        except (KennelError, OSError) as error:
            lost.append(f"{model.uri} ({error.why if isinstance(error, KennelError) else error})")
    if kept:
        say(f"  kept   {len(kept)} of {len(kept) + len(lost)} models are on this machine: {', '.join(kept)}")
    if lost:
        _report_loss(lost, yes=yes, say=say)
    return ModelCopies(tuple(kept), tuple(lost))


def models_of(aws: Aws, plan: Plan) -> Iterator[StoredModel]:
    """Yield the models below the prefixes that a plan removes.

    Raises:
        AwsFailed: S3 refused.
    """
    for item in plan.removals:
        bucket, _, prefix = item.name.partition("/")
        if item.kind != "s3-prefix" or not prefix.startswith("runs/"):
            continue
        for stored in objects.list_objects(aws, bucket, f"{prefix}/").values():
            named = _MODEL_KEY.match(stored.key)
            if named and naming.RUN_ID.fits(named["run"]):
                yield StoredModel(bucket, named["run"], named["job"], stored)


def local_copy(run: RunFolder, model: StoredModel) -> Path | None:
    """Return the file in a run's folder that is an undamaged copy of this model, or None when there is none.

    Raises:
        LedgerRefused: a record of the run cannot be read.
    """
    downloaded = load_download(run)
    if downloaded is not None and (downloaded.model_uri, downloaded.model_etag) == (model.uri, model.stored.etag):
        return run.folder / FOLDER / MODEL
    from_ec2 = run.find(InstanceModel)
    if from_ec2 is not None and from_ec2.model_uri == model.uri:
        paths, sha256 = [Path(from_ec2.archive), run.folder / "TrainedModels" / MODEL], from_ec2.model_sha256
    else:
        path = _download_path(run, model)
        paths, beside = [path], _digest_path(path)
        sha256 = beside.read_text(errors="replace").strip() if beside.is_file() else ""
    size = model.stored.size_bytes
    found = (path for path in paths if path.is_file() and path.stat().st_size == size and sha256_of(path) == sha256)
    return next(found, None)


def _copy_of(aws: Aws, model: StoredModel, say: Say) -> Path:
    """Return the path of a model's copy on this machine, after downloading it when there is none."""
    run = RunFolder(aws.settings.run_dir(model.run_id))
    try:
        found = local_copy(run, model)
    except LedgerRefused:  # a damaged record names no copy, so the model is downloaded
        found = None
    if found is not None:
        return found
    say(f"  fetch  {model.uri} ({model.stored.size_bytes / 1e6:.1f} MB): it is not on this machine")
    path = _download_path(run, model)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(path.parent).free
    if free < model.stored.size_bytes:
        raise OSError(f"the disk has {free / 1e6:.0f} MB free, the model has {model.stored.size_bytes / 1e6:.0f} MB")
    part = path.with_name(f".{path.name}.fetched")
    try:
        fetch_object(aws, model.uri, part)
        digest = f"{sha256_of(part)}\n"
        part.replace(path)
        write_atomically(_digest_path(path), digest.encode())
    finally:
        part.unlink(missing_ok=True)
    return path


def _download_path(run: RunFolder, model: StoredModel) -> Path:
    return run.folder / "TrainedModels" / f"{model.job}-{model.stored.etag[:8]}" / MODEL


def _digest_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _report_loss(lost: list[str], *, yes: bool, say: Say) -> None:
    what = f"{len(lost)} models have no other copy and would be lost: {'; '.join(lost)}"
    if not yes:
        why = "they could not be downloaded, and --yes was not given; nothing was removed"
        raise SettingsRefused(
            WHERE, what, why, "copy each of them to a safe place by aws s3 cp, or run the same command with --yes"
        )
    say(f"  LOST   {what.replace('would be', 'are')}")
