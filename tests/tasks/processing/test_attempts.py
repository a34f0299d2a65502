"""A job of an earlier plan is stopped, what it left is removed, and what it took is kept and counted."""

import uuid
from pathlib import Path

from tasks.account.role_policies import staging_prefix
from tasks.plan.spending import spent_by
from tasks.processing.attempts import settle_attempts, stop_others
from tasks.report.running_cost import live_by_kind
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.records import StagingJobs
from tasks.run.settings import Settings
from tests.conftest import RunningLocalAws
from tests.localaws.sagemaker.processing.processing_rooms import ProcessingRoom
from tests.localaws.sagemaker.training.training_rooms import make_room


def test_a_job_of_another_plan_is_stopped_and_its_cost_is_kept(localaws: RunningLocalAws, tmp_path: Path) -> None:
    settings = Settings(
        endpoint_url=localaws.url, home=tmp_path, runs=tmp_path, region="us-east-1", bucket=f"b-{uuid.uuid4().hex}"
    )
    aws = Aws(settings)
    run, room, s3 = Run(aws, f"r-{uuid.uuid4().hex[:6]}"), ProcessingRoom(make_room(localaws)), aws.client("s3")
    name = f"kennel-{uuid.uuid4().hex[:12]}"
    room.start("import time; print('running', flush=True); time.sleep(60)", ProcessingJobName=name)
    run.ledger.adopt("processing-job", name)
    room.wait_for_line(name, "running")
    s3.create_bucket(Bucket=aws.bucket)
    for left in ("parts/algo-1/0.spool", "made/train/shard-00000.tar"):
        s3.put_object(Bucket=aws.bucket, Key=f"{staging_prefix(run.id)}/{name}/{left}", Body=b"photos")
    stop_others(run, name)
    settle_attempts(run)
    assert run.find(StagingJobs) is None, "it runs"
    assert [each.cost.text for each in live_by_kind(run, aws.region, run.ledger.live())] == ["unknown"]

    stop_others(run, "another")
    settle_attempts(run)

    assert room.describe(name)["ProcessingJobStatus"] == "Stopped"
    [attempt] = run.need(StagingJobs).attempts
    assert (attempt.job_name, attempt.status) == (name, "Stopped") and attempt.seconds > 0
    assert [each.cost.text for each in live_by_kind(run, aws.region, run.ledger.live())] == ["0"]
    [spent] = [each for each in spent_by(run) if name in each.what]
    assert spent.usd is None or spent.usd > 0
    assert "Contents" not in s3.list_objects_v2(Bucket=aws.bucket)
    s3.delete_bucket(Bucket=aws.bucket)
