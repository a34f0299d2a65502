"""Runs whose trained model lies in S3, as after a training that nobody has to wait for."""

from dataclasses import replace
from pathlib import Path

from tasks.account.bucket import ensure_bucket
from tasks.account.objects import put_object
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.records import DatasetRef, TrainedModel
from tasks.run.settings import Settings
from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, pack
from tests.tasks.run.test_records import TRAINED

DIGEST = "d" * 64
COUNTS = {"train": {"a": 1, "b": 1}, "test": {"a": 2, "b": 2}}


def account(url: str, folder: Path) -> Aws:
    """Return the account of a server, whose calls are sent once."""
    return Aws(Settings(endpoint_url=url, home=folder / "home", runs=folder / "runs", max_attempts=1))


def trained_run(aws: Aws, run_id: str, name: str, *, digest: str = DIGEST, code: str = ECHO) -> Run:
    """Return a run that has trained a model on a dataset of a name."""
    run = Run(aws, run_id)
    bucket, key = ensure_bucket(run), f"runs/{run_id}/output/job-{run_id}/output/model.tar.gz"
    put_object(aws, bucket, key, pack({"code/inference.py": code}), content_type="application/gzip")
    run.keep(DatasetRef(bucket, f"datasets/{digest}", digest, name, ("a", "b"), COUNTS, 4, 0, "sample"))
    run.keep(model_at(f"s3://{bucket}/{key}", run_id, digest))
    return run


def model_at(uri: str, run_id: str, digest: str = DIGEST) -> TrainedModel:
    """Return the record of a model that is right on three of four photos."""
    return replace(
        TRAINED, job_name=f"job-{run_id}", model_uri=uri, data_digest=digest, test_accuracy=0.75, test_images=4
    )
