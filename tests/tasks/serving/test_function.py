"""Tests the function on localaws' Lambda: published once, adopted, and updated when code or configuration change."""

import dataclasses
import json
from pathlib import Path

import pytest

from tasks.account.role_policies import function_role
from tasks.account.roles import ensure_role
from tasks.model.code import build_lambda_zip
from tasks.run.aws import Aws
from tasks.run.errors import AccessDenied
from tasks.run.handle import Run
from tasks.run.settings import Settings
from tasks.serving.concurrency import ConcurrencyPlan, ensure_concurrency
from tasks.serving.function import FunctionPlan, ensure_function
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Calls, Fault
from tests.localaws.callers import allow, deny, make_user

RUN = "functions"


def make_plan(run: Run, folder: Path) -> FunctionPlan:
    source = folder / "source"
    source.mkdir(exist_ok=True)
    (source / "handler.py").write_text("def handler(event, context):\n    return 1\n")
    role = function_role(run.aws, run.id, "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e", "/aws/lambda/f")
    sha256 = build_lambda_zip(folder / "f.zip", source)
    return FunctionPlan(run.id, "e", role.name, ensure_role(run, role), folder / "f.zip", sha256)


def test_a_function_is_published_once_and_again_only_when_something_changed(calls: Calls, tmp_path: Path) -> None:
    aws = Aws(Settings(endpoint_url=calls.url, runs=tmp_path / "runs", region="us-east-1"))
    run = Run(aws, RUN)
    plan = make_plan(run, tmp_path)
    first = ensure_function(run, plan)
    assert (first.version, first.alias, first.alias_arn[-5:]) == ("1", "live", ":live")

    calls.seen.clear()
    assert ensure_function(run, plan) == first
    assert calls.mutating() == []

    changed = dataclasses.replace(plan, allowed_hosts=("127.0.0.1:8123",))
    second = ensure_function(run, changed)
    assert (second.version, second.alias_arn) == ("2", first.alias_arn)
    live = aws.client("lambda").get_function_configuration(FunctionName=plan.name, Qualifier="live")
    assert live["Environment"]["Variables"]["ALLOWED_HOSTS"] == "127.0.0.1:8123"
    assert [row.state for row in run.ledger.rows() if row.kind == "function"] == ["created"]


def test_a_redeploy_keeps_the_memory_that_a_scaling_plan_has_set(localaws: RunningLocalAws, tmp_path: Path) -> None:
    aws = Aws(Settings(endpoint_url=localaws.url, runs=tmp_path / "runs", region="us-east-1"))
    run = Run(aws, RUN)
    plan = make_plan(run, tmp_path)
    function, client = ensure_function(run, plan), aws.client("lambda")

    def memory() -> int:
        return int(client.get_function_configuration(FunctionName=plan.name, Qualifier="live")["MemorySize"])

    assert memory() == 256
    ensure_concurrency(run, ConcurrencyPlan(function, 512, None, 0))
    changed = dataclasses.replace(plan, fetch_timeout_seconds=3.0)
    assert ensure_function(run, changed).version != function.version
    assert memory() == 512
    ensure_function(run, dataclasses.replace(changed, memory_mb=1024))
    assert memory() == 1024
    client.delete_function(FunctionName=plan.name)


@pytest.mark.parametrize("hosts", [(), ("127.0.0.1:8001", "localhost:8000")])
def test_the_plans_configuration_names_what_the_function_reads(tmp_path: Path, hosts: tuple[str, ...]) -> None:
    plan = FunctionPlan(RUN, "e", "role", "arn:role", tmp_path / "f.zip", "00" * 32, hosts)
    assert plan.configuration["Environment"]["Variables"] == {
        "ENDPOINT_NAME": "e",
        "ALLOWED_HOSTS": ",".join(hosts),
        "MAX_IMAGE_BYTES": str(5 * 2**20),
        "FETCH_TIMEOUT_SECONDS": "10",
    }


def test_a_function_whose_tags_may_not_be_listed_is_not_called_foreign(
    localaws: RunningLocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda leaves the tags out of GetFunction's answer without lambda:ListTags: the error names that permission."""
    run = Run(Aws(Settings(endpoint_url=localaws.url, runs=tmp_path / "runs", region="us-east-1")), RUN)
    plan = make_plan(run, tmp_path)
    ensure_function(run, plan)
    limited = make_user(localaws, allow("*"), deny("lambda:ListTags"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", limited.keys["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", limited.keys["aws_secret_access_key"])
    with pytest.raises(AccessDenied, match="lambda:ListTags"):
        ensure_function(Run(Aws(run.settings), RUN), plan)


def test_a_function_whose_answer_lacks_its_tags_is_adopted_by_those_that_lambda_lists(
    calls: Calls, tmp_path: Path
) -> None:
    run = Run(Aws(Settings(endpoint_url=calls.url, runs=tmp_path / "runs", region="us-east-1")), RUN)
    plan = make_plan(run, tmp_path)
    first = ensure_function(run, plan)
    without = Fault(f"GET /2015-03-31/functions/{plan.name}", change=_without_tags, times=9)
    calls.faults.append(without)
    assert ensure_function(run, plan) == first
    assert without.times < 9


def _without_tags(body: bytes) -> bytes:
    return json.dumps({name: value for name, value in json.loads(body).items() if name != "Tags"}).encode()


def test_the_function_runs_on_a_runtime_that_lambda_still_patches(tmp_path: Path) -> None:
    plan = FunctionPlan("r", "e", "role", "arn", tmp_path / "f.zip", "00")
    assert plan.configuration["Runtime"] == "python3.13"
