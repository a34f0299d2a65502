"""Load tests whose requests come from EC2 instances of a real localaws, over its real SSH servers."""

import json
import threading
from pathlib import Path

import pytest

from loadtest.arrivals import Stage, poisson_arrivals
from tasks.ec2.prices import choose_instances
from tasks.load.generator import GeneratorOptions, run_load_test
from tasks.load_workers.fleet import Fleet, LoadWorkers, load_fleet
from tasks.run.aws import Aws
from tasks.run.errors import Inconclusive
from tasks.run.handle import Run
from tasks.run.record_store import load_record
from tasks.run.records import EndpointRef, LoadReport
from tests.conftest import RunningLocalAws
from tests.localaws.sagemaker.endpoints.endpoint_models import BUCKET, Workbench
from tests.polling import wait_until
from tests.tasks.ec2.instances import account, living, states
from tests.tasks.load.void_runs import even_if_void

OPTIONS = GeneratorOptions(warm_up_seconds=0.5, drain_seconds=20, seed=7)
CANDIDATES = choose_instances(finetune=False, requested="c7i.xlarge")


@pytest.fixture(scope="module")
def aws(localaws: RunningLocalAws, tmp_path_factory: pytest.TempPathFactory) -> Aws:
    return account(localaws.url, tmp_path_factory.mktemp("workers"), ec2_launch_seconds=120)


@pytest.fixture(scope="module")
def target(bench: Workbench) -> EndpointRef:
    name = bench.endpoint(bench.model())
    arn = bench.sagemaker.describe_endpoint(EndpointName=name)["EndpointArn"]
    return EndpointRef(name, arn, "config", "model", "AllTraffic", "ml.m5.large", 1, "s3://b/k", 1.0)


def load(run: Run, fleet: Fleet, target: EndpointRef, image: Path, *, seconds: float = 2.0) -> LoadReport:
    return run_load_test(
        run.settings,
        run.folder,
        target=target,
        images=[image],
        rate_per_second=40,
        seconds=seconds,
        options=OPTIONS,
        workers=fleet,
        say=lambda _: None,
    )


def test_two_workers_send_one_poisson_process_and_one_that_ends_voids_the_run(
    aws: Aws, localaws: RunningLocalAws, target: EndpointRef, image: Path
) -> None:
    run = Run(aws, "workers-1")
    with load_fleet(run, target, CANDIDATES, bucket=BUCKET, count=2, processes=1) as fleet:
        report = even_if_void(run.folder, lambda: load(run, fleet, target, image))
        print(report)
