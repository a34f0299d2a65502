"""A month of an endpoint's life in minutes: 30 scheduled retrainings while a steady load is answered.

python .ci/month.py, in an empty folder, with the servers of `kennel up --time-scale 120` in the environment.

The times are those that Prefect computes for 30 days with a change of the clocks; each is a flow run of its own. What
happens: the data grows; the worker of that day and its process are killed in the training, the next day's command is
killed in the gate, and the day after finishes it: a better model gets copies of the requests and is promoted by a
canary. Prefect's server settles the worker's run. The data loses photos, and a worse model is refused; three days are
slept through; a model that fails on every third photo is promoted by a person, without copies, and its alarm takes it
back. At the end the month is judged.
"""

import asyncio
import io
import json
import logging
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import boto3
import psutil
from botocore.config import Config
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.server.schemas.schedules import CronSchedule

from flows.pipeline import pipeline
from flows.promote import promote
from flows.retrain import retrain
from kennel.commands.demo_retrain import HELD_OUT, TRAINING, write_part
from kennel.servers import schedules
from tasks.data.sample import make_sample
from tasks.registry.packages import REJECTED, ModelVersion, describe_package
from tasks.run.errors import StageFailed
from tasks.run.handle import Run
from tasks.run.options import DeployOptions, PromotionOptions
from tasks.run.records import EndpointRef
from tasks.run.settings import Settings

RUN, DATA = "month", Path("photos")
CRON, BERLIN, DAYS = "30 2 * * *", ZoneInfo("Europe/Berlin"), 30
INSTANCES, REQUESTS_PER_SECOND = 3, 8
PROMOTION = PromotionOptions(shadow_minutes=2, bake_minutes=3, slower=5)
UNCOMPARED = PROMOTION.model_copy(update={"shadow_minutes": 0})
GROWS, WORKER_DIES, GATE_DIES, SHRINKS, SLEPT, BAD = 5, 5, 6, 12, (18, 19, 20), 26
FEW, MANY = 2, 24
START_SECONDS, SETTLED_SECONDS = 120, 120
_FAILS = """
import itertools
import inference
from inference import input_fn, model_fn, output_fn
_number = itertools.count(1)


def predict_fn(data, model):
    if next(_number) % 3 == 0:
        raise RuntimeError("every third photo")
    return inference.predict_fn(data, model)
"""


def main() -> int:
    """Live the month, print each day, and return 0 if it went as it has to."""
    logging.getLogger("prefect").setLevel(logging.ERROR)
    sample = make_sample(Settings.load().home)
    write_part(sample, DATA, FEW)
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "kennel"]
    worker = subprocess.Popen(command, env={**os.environ, "PREFECT_WORKER_QUERY_SECONDS": "1"}, start_new_session=True)
    try:
        return _live(sample, worker)
    finally:
        _end(worker)


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Kill a worker with what it started, if it still runs."""
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def _live(sample: Path, worker: subprocess.Popen[bytes]) -> int:
    asyncio.run(pipeline(str(DATA), RUN, TRAINING, deploy=DeployOptions(instances=INSTANCES), load_test=False))
    schedules.put(RUN, CRON, str(BERLIN), {"data": str(DATA.resolve())})
    month = Month(sample, worker)
    with Load() as load:
        for day, moment in enumerate(_moments(), start=1):
            begun = time.monotonic()
            outcome = month.live(day)
            print(f"day {day:2} {moment:%d %b %H:%M %Z}: {outcome}, {time.monotonic() - begun:.1f} s", flush=True)
    return _judge(month, load)


def _moments() -> list[datetime]:
    begin = datetime(2026, 10, 1, tzinfo=BERLIN)
    found = asyncio.run(CronSchedule(cron=CRON, timezone="Europe/Berlin").get_dates(DAYS, start=begin))
    return [each.astimezone(BERLIN) for each in found]


@dataclass
class Month:
    """What happens on each day, and what the retrainings came to."""

    sample: Path
    worker: subprocess.Popen[bytes]
    outcomes: Counter[str] = field(default_factory=Counter)
    bad: str = ""
    killed: FlowRun | None = None

    def live(self, day: int) -> str:
        """Live a day; a day that is slept through is made up for on the first day after."""
        if day == GROWS:
            write_part(self.sample, DATA, MANY)
        if day == SHRINKS:
            write_part(self.sample, DATA, 1)
        if day in SLEPT:
            return "the machine sleeps"
        if day == WORKER_DIES:
            self.killed = _kill_in_its_training(self.worker)
            return "the worker and its process were killed in the training"
        if day == GATE_DIES:
            return _killed_in_the_gate()
        if day == BAD:
            return self._promote_a_bad_one()
        runs = 1 + len(SLEPT) * (day == SLEPT[-1] + 1)
        outcomes = [asyncio.run(retrain(RUN, promotion=PROMOTION)).outcome for _ in range(runs)]
        self.outcomes.update(outcomes)
        return ", ".join(outcomes)

    def _promote_a_bad_one(self) -> str:
        self.bad = _register_bad()
        try:
            asyncio.run(promote(RUN, self.bad, UNCOMPARED, "told to, whatever the gate says"))
        except StageFailed as error:
            self.outcomes["taken back"] += 1
            return f"taken back: {error.why[:100]}"
        return "a bad model was promoted"


def _kill_in_its_training(worker: subprocess.Popen[bytes]) -> FlowRun:
    """Have the worker begin the day's retraining, kill both in the training job, and return the flow run."""
    try:
        begun = run_deployment(f"retrain/{RUN}", timeout=0)
        _wait_for(_is_training, "the training job", START_SECONDS)
    finally:
        _end(worker)
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("PREFECT__FLOW_RUN_ID") == str(begun.id):
            process.kill()
    return begun


def _is_training() -> bool:
    jobs = Run.load(RUN).aws.client("sagemaker").list_training_jobs(StatusEquals="InProgress")
    return bool(jobs["TrainingJobSummaries"])


def _killed_in_the_gate() -> str:
    """Begin the day's retraining in a process of its own, and kill it when the models begin to answer the photos."""
    command = [sys.executable, "-m", "kennel", "retrain", RUN]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stderr or ():
        if "gate: both models answer" in line:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return "the command was killed in the gate"
    return f"it ended before it was killed: {process.wait()}"


def _wait_for(look: Callable[[], bool], what: str, seconds: float) -> bool:
    """Tell whether something came in time."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            print(f"{what} did not come in {seconds} s", flush=True)
            return False
        time.sleep(0.2)
    return True


def _is_settled(killed: FlowRun | None) -> bool:
    """Tell whether the server set the run Crashed, and gave its slot to the next one."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(killed.id).state if killed else None
        limit = client.read_deployment_by_name(f"retrain/{RUN}").global_concurrency_limit
    return bool(state and state.is_crashed() and limit and limit.active_slots == 0)


def _register_bad() -> str:
    """Register a model that fails on every third photo, beside the champion, and return its ARN."""
    run = Run.load(RUN)
    version = run.need(ModelVersion)
    bucket, key = version.model_uri.removeprefix("s3://").split("/", 1)
    s3, sagemaker = run.aws.client("s3"), run.aws.client("sagemaker")
    bad = f"runs/{RUN}/bad/model.tar.gz"
    s3.put_object(Bucket=bucket, Key=bad, Body=_spoiled(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
    described = sagemaker.describe_model_package(ModelPackageName=version.arn)
    good = described["InferenceSpecification"]["Containers"][0]
    program = {**good["Environment"], "SAGEMAKER_PROGRAM": "bad.py"}
    container = {**good, "ModelDataUrl": f"s3://{bucket}/{bad}", "Environment": program}
    made = sagemaker.create_model_package(
        ModelPackageGroupName=version.group,
        ModelPackageDescription="bad",
        InferenceSpecification={**described["InferenceSpecification"], "Containers": [container]},
        CustomerMetadataProperties=described["CustomerMetadataProperties"],
        ModelApprovalStatus="PendingManualApproval",
    )
    return str(made["ModelPackageArn"])


def _spoiled(archive: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as source, tarfile.open(fileobj=out, mode="w:gz") as spoiled:
        for member in source:
            content = source.extractfile(member)
            if content is None:
                continue
            _add(spoiled, member.name, content.read())
        _add(spoiled, "code/bad.py", _FAILS.encode())
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


class Load:
    """A steady load on the endpoint from a thread, without retries; what it was answered is counted."""

    def __init__(self) -> None:
        self.answered, self.failed = 0, Counter[str]()
        run = Run.load(RUN)
        self._endpoint = run.need(EndpointRef).name
        settings = Settings.load()
        config = Config(retries={"total_max_attempts": 1}, read_timeout=30)
        self._client = boto3.client("sagemaker-runtime", endpoint_url=settings.endpoint_url, config=config)
        self._photos = [path.read_bytes() for path in sorted((DATA / "test").glob("*/*"))]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)

    def _send(self) -> None:
        number = 0
        while not self._ended.wait(1 / REQUESTS_PER_SECOND):
            photo = self._photos[number % len(self._photos)]
            number += 1
            try:
                asked: dict[str, Any] = {"EndpointName": self._endpoint, "ContentType": "application/x-image"}
                self._client.invoke_endpoint(**asked, Body=photo)["Body"].read()
                self.answered += 1
            except Exception as error:  # noqa: BLE001 whatever it is, a caller has no answer
                self.failed[type(error).__name__ + ": " + str(error)[:120]] += 1


def _judge(month: Month, load: Load) -> int:
    run = Run.load(RUN)
    bad = describe_package(run.aws, month.bad)
    total = load.answered + sum(load.failed.values())
    by_bad = sum(count for text, count in load.failed.items() if "ModelError" in text)
    expected = {
        "one better model was promoted": month.outcomes["promoted"] == 1,
        "one worse model was refused": month.outcomes["refused"] == 1,
        "the bad model was taken back and rejected": month.outcomes["taken back"] == 1
        and bad is not None
        and bad.approval == REJECTED,
        "all other days had nothing to do": month.outcomes["nothing to do"] == DAYS - len(SLEPT) - 5 + len(SLEPT),
        "the killed worker's run is Crashed and its slot free": _wait_for(
            lambda: _is_settled(month.killed), "the end of the killed worker's run", SETTLED_SECONDS
        ),
        "no request was lost but those that the bad model failed": sum(load.failed.values()) == by_bad,
        "the bad model failed few": by_bad <= total / INSTANCES / 3 + 1,
    }
    print(json.dumps({"requests": total, "answered": load.answered, "failed": load.failed, "days": month.outcomes}))
    for what, is_so in expected.items():
        print(f"{'PASS' if is_so else 'FAIL'} {what}")
    return 0 if all(expected.values()) else 1


if __name__ == "__main__":
    print(f"begun {datetime.now(UTC):%H:%M:%S}, {HELD_OUT} test photos a class")
    sys.exit(main())
