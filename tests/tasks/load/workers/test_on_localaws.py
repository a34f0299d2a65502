"""Load tests whose requests come from EC2 instances of a real localaws, over its real SSH servers."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from loadtest.arrivals import Stage, poisson_arrivals
from tasks.ec2.prices import choose_instances
from tasks.ec2.state import login
from tasks.load.generator import GeneratorOptions, run_load_test
from tasks.load.workers.fleet import Fleet, load_fleet
from tasks.load.workers.record import LoadWorkers
from tasks.plan.spending import spent_by
from tasks.run.aws import Aws
from tasks.run.errors import Inconclusive
from tasks.run.handle import Run
from tasks.run.options import MOST_INSTANCES
from tasks.run.record_store import load_record
from tasks.run.records import EndpointRef, InstanceRef, LoadReport
from tasks.ssh.remote import Remote
from tests.conftest import ROOT, RunningLocalAws
from tests.keys import for_environment
from tests.localaws.sagemaker.endpoints.endpoint_models import BUCKET, Workbench
from tests.polling import wait_until
from tests.tasks.ec2.instances import account, living, states
from tests.tasks.load.void_runs import even_if_void

OPTIONS = GeneratorOptions(warm_up_seconds=0.5, drain_seconds=20, seed=7)
RATE = 40.0
CANDIDATES = choose_instances(finetune=False, requested="c7i.xlarge")
KILLED = """
import json, sys, time
from tasks.ec2.prices import choose_instances
from tasks.load.workers.fleet import load_fleet
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.records import EndpointRef
from tasks.run.settings import Settings
settings, target, bucket = sys.argv[1:]
run = Run(Aws(Settings.model_validate_json(settings)), "workers-1")
candidates = choose_instances(finetune=False, requested="c7i.xlarge")
with load_fleet(run, EndpointRef(**json.loads(target)), candidates, bucket=bucket, count=2, processes=1):
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def aws(localaws: RunningLocalAws, tmp_path_factory: pytest.TempPathFactory) -> Aws:
    return account(localaws.url, tmp_path_factory.mktemp("workers"), ec2_launch_seconds=120)


@pytest.fixture(scope="module")
def target(bench: Workbench) -> EndpointRef:
    name = bench.endpoint(bench.model())
    arn = bench.sagemaker.describe_endpoint(EndpointName=name)["EndpointArn"]
    return EndpointRef(name, arn, "config", "model", "AllTraffic", "ml.m5.large", 1, "s3://b/k", 1.0)


def load(run: Run, fleet: Fleet, target: EndpointRef, image: Path, *, seconds: float) -> LoadReport:
    return run_load_test(
        run.settings,
        run.folder,
        target=target,
        images=[image],
        rate_per_second=RATE,
        seconds=seconds,
        options=OPTIONS,
        workers=fleet,
        say=lambda _: None,
    )


def leave_instances(aws: Aws, target: EndpointRef) -> list[str]:
    """Kill a command when its workers are ready, and return the ids of the instances that it left."""
    settings = aws.settings.model_dump_json(include={"endpoint_url", "ssh_from", "home", "runs", "ec2_launch_seconds"})
    given = [settings, json.dumps(asdict(target)), BUCKET]
    environment = {**os.environ, **for_environment(), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, *given], stdout=subprocess.PIPE, env=environment, text=True
    ) as command:
        assert command.stdout is not None
        assert any(line == "ready\n" for line in command.stdout)
        command.kill()
    return sorted(item["InstanceId"] for item in living(aws, "workers-1"))


def test_two_workers_send_one_poisson_process_and_a_run_without_one_of_them_is_void(
    aws: Aws, target: EndpointRef, image: Path
) -> None:
    left, run = leave_instances(aws, target), Run(aws, "workers-1")
    assert len(left) == 2
    with load_fleet(run, target, CANDIDATES, bucket=BUCKET, count=2, processes=1) as fleet:
        assert sorted(row["instance_id"] for row in fleet.rows) == left, "what a killed command left is adopted"
        report = even_if_void(run.folder, lambda: load(run, fleet, target, image, seconds=2))
        every_drawn_request_is_counted(report)
        the_machines_are_named_and_have_one_clock(report, left)
        no_port_is_open_but_ssh(aws)
        a_worker_may_do_nothing_else(run)
        a_run_without_a_worker_is_void(run, fleet, target, image)
    assert living(aws, "workers-1") == []
    assert sorted(states(run)) == ["created", "removed"], "who ended the other one was not kennel"
    what_it_cost_is_kept(run, left)


def every_drawn_request_is_counted(report: LoadReport) -> None:
    plan = [Stage(RATE, 0.5), Stage(RATE, 2)]
    drawn = [time for worker in (0, 1) for time in poisson_arrivals(plan, seed=7, worker=worker, workers=2)]
    assert report.requests == report.answered == sum(time >= 0.5 for time in drawn)
    assert report.warm_up_requests == sum(time < 0.5 for time in drawn)
    content = json.loads(Path(report.files["json"]).read_bytes())
    seconds = [sum(1 for time in drawn if begin <= time - 0.5 < begin + 1) for begin in (0, 1)]
    assert [row["due"] for row in content["timeline"]] == seconds, "intended starts are those of one clock"
    assert content["latency_ms"]["samples"] == report.answered


def the_machines_are_named_and_have_one_clock(report: LoadReport, instance_ids: list[str]) -> None:
    rows = json.loads(Path(report.files["json"]).read_bytes())["generator"]["machines"]
    assert sorted(row["instance_id"] for row in rows) == instance_ids
    for row in rows:  # localaws's instances have this machine's clock
        assert abs(row["clock_ahead_ms"]) <= row["clock_error_ms"] < 100
    assert (report.workers, report.processes) == (2, 2)
    assert report.generator_machines.startswith("2 × c7i.xlarge on EC2, clocks known to ")
    assert report.requests_per_core is not None and report.requests_per_core > 0


def no_port_is_open_but_ssh(aws: Aws) -> None:
    wanted = [{"Name": "tag:kennel:run", "Values": ["workers-1"]}]
    (group,) = aws.client("ec2").describe_security_groups(Filters=wanted)["SecurityGroups"]
    ports = [(rule["FromPort"], rule["ToPort"], rule.get("UserIdGroupPairs")) for rule in group["IpPermissions"]]
    assert ports == [(aws.settings.ssh_port, aws.settings.ssh_port, [])]


def a_worker_may_do_nothing_else(run: Run) -> None:
    (policy,) = run.aws.client("iam").list_role_policies(RoleName="kennel-workers-1-load")["PolicyNames"]
    found = run.aws.client("iam").get_role_policy(RoleName="kennel-workers-1-load", PolicyName=policy)
    assert [each["Action"] for each in found["PolicyDocument"]["Statement"]] == [["sagemaker:InvokeEndpoint"]]
    with Remote(login(worker(run, 1))) as remote:
        asked = "import boto3; boto3.client('s3', region_name='us-east-1').list_buckets()"
        refused = remote.run(["/opt/pytorch/bin/python", "-c", asked], check=False)
        assert b"AccessDenied" in refused.stderr
        assert remote.run("ls -A ~ | sort").stdout.split() == [b".ssh", b"kennel"], "no credentials are kept there"


def worker(run: Run, number: int) -> InstanceRef:
    found = run.find(InstanceRef, number=MOST_INSTANCES + number)
    assert found is not None
    return found


def a_run_without_a_worker_is_void(run: Run, fleet: Fleet, target: EndpointRef, image: Path) -> None:
    gone = worker(run, 2).instance_id
    sent = run.folder / "loadtest" / "locust.log"

    def end_a_worker() -> None:
        wait_until(lambda: "generators are ready" in (sent.read_text() if sent.exists() else ""), "the test to begin")
        run.aws.client("ec2").terminate_instances(InstanceIds=[gone])

    ending = threading.Timer(2.0, end_a_worker)
    ending.start()
    with pytest.raises(Inconclusive, match=r"1 of 2 load generators is missing: generator . on ip-.* vanished") as void:
        load(run, fleet, target, image, seconds=60)
    ending.join()
    assert void.value.exit_code == 11 and f"({gone}): the instance ended: " in void.value.why
    report = load_record(run.folder, LoadReport)
    assert report is not None and not report.is_valid


def what_it_cost_is_kept(run: Run, instance_ids: list[str]) -> None:
    kept = run.need(LoadWorkers)
    assert sorted(kept.instance_ids) == instance_ids and kept.cost_usd is not None and kept.cost_usd > 0
    assert [each.usd for each in spent_by(run) if each.what.startswith("load tests from EC2")] == [kept.cost_usd]
