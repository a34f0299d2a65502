"""The main job through the command, for real: servers, training on two hosts, endpoint, function, and the way back.

One home for the module: what the first test makes is what the others adopt, run by a worker, and remove.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from prefect.exceptions import ParameterBindError

from flows.pipeline import pipeline
from tasks.plan.resources import Planned
from tasks.run.errors import SettingsRefused
from tasks.run.expiry import expiry_tags
from tasks.run.ledger_contents import read_ledger
from tests.browser import needs_browser
from tests.command_lines import command_line
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Calls
from tests.kennel.interface import differences
from tests.kennel.prefect_worker import PrefectServer, worker
from tests.kennel.pseudo_terminal import OnATerminal
from tests.kennel.shell import ROOT, Finished, Terminal, open_to_others
from tests.kennel.signalled import check, generators_of, held, send, started, wait_for_stage
from tests.keys import for_boto3
from tests.localaws.functions.url_kit import Url
from tests.polling import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

RUN = "colours"
QUICK = ("--backbone", "efficientnet_lite0", "--epochs", "3", "--views", "1")
TWO = ("--instances", "2")
LOAD = ("--load-rate-per-second", "20", "--load-seconds", "2")


SECRET = "s3cret-of-the-url"


class Site(SimpleHTTPRequestHandler):
    """Serves each file also in a folder whose name is the secret."""

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.removeprefix(f"/{SECRET}"))


@pytest.fixture(scope="module")
def served(photos: Path) -> Iterator[str]:
    """The host:port of a web server that serves the photos, as in docs/usage.md, and a zip of them."""
    shutil.make_archive(str(photos.with_name(RUN)), "zip", photos)
    photos.with_name(f"{RUN}.zip").rename(photos / f"{RUN}.zip")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=photos)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def command(served: str) -> tuple[str, ...]:
    url = f"http://me-{SECRET}:{SECRET}@{served}/{SECRET}/{RUN}.zip?X-Amz-Signature={SECRET}"
    return ("run", "--data", url, "--run-id", RUN, *QUICK, *TWO, "--allow-host", served, "--public-url", "iam")


@dataclass(frozen=True)
class Planning:
    """What `kennel plan` showed, and the changing calls that it made."""

    answer: dict[str, Any]
    mutating: list[str]


def plan(terminal: Terminal, calls: Calls, *options: str) -> Planning:
    seen = len(calls.seen)
    shown = terminal.kennel("plan", *options, *LOAD, "--json")
    assert shown.code == 0, shown.err
    assert len(calls.seen) > seen, "the plan asked nothing of AWS"
    mutating = [each for each in calls.mutating() if each in calls.seen[seen:]]
    return Planning(shown.answer, mutating)


@pytest.fixture(scope="module")
def planned(terminal: Terminal, calls: Calls, command: tuple[str, ...]) -> Planning:
    """The plan of the run that does not exist yet."""
    return plan(terminal, calls, *command[1:])


@pytest.fixture(scope="module")
def first(terminal: Terminal, command: tuple[str, ...], planned: Planning) -> Finished:
    return terminal.kennel(*command, *LOAD, "--budget", "100", "--ttl", "4h", "--json")


def test_a_plan_changes_nothing(planned: Planning) -> None:
    assert planned.mutating == []
    assert differences("plan", planned.answer) == []


def test_what_is_planned_is_what_the_ledger_says_was_created_in_that_order(
    planned: Planning, first: Finished, terminal: Terminal
) -> None:
    assert first.code == 0, first.err
    rows = read_ledger(terminal.runs / RUN)[1]
    names = ("stage", "kind", "name")
    wanted = [Planned(*(each[name] for name in names)) for each in planned.answer["resources"]]
    assert {each["action"] for each in planned.answer["resources"]} == {"create"}
    assert {row.state for row in rows} == {"created"}
    assert [each.kind for each in wanted] == [row.kind for row in rows]
    assert [(each, row.name) for each, row in zip(wanted, rows, strict=True) if not each.fits(row.kind, row.name)] == []


def test_photos_are_classified_alike_by_the_endpoint_by_the_kept_model_and_in_python(
    first: Finished, terminal: Terminal, photos: Path, served: str, tmp_path: Path
) -> None:
    tested = sorted((photos / "test").rglob("*.jpg"))
    url = f"http://{served}/{tested[0].relative_to(photos)}"

    live = terminal.kennel("predict", RUN, str(photos / "test"), url, "--json")
    files = ("--csv", str(tmp_path / "found.csv"), "--html", str(tmp_path / "found.html"))
    kept = terminal.kennel("predict", RUN, str(photos / "test"), "--local", "--json", *files)

    assert (live.code, kept.code) == (0, 0), live.err + kept.err
    assert live.answer["answered_by"].endswith(":live") and str(terminal.runs / RUN) in kept.answer["answered_by"]
    *by_endpoint, by_url = live.answer["predictions"]
    by_model = kept.answer["predictions"]
    assert [each["photo"] for each in by_endpoint] == [str(path) for path in tested]
    assert by_url["scores"] == by_endpoint[0]["scores"]
    for one, other in zip(by_endpoint, by_model, strict=True):
        assert one["label"] == other["label"] and one["scores"] == pytest.approx(other["scores"], abs=1e-5)
    right = sum(Path(each["photo"]).parent.name == each["label"] for each in by_model)
    assert right == round(first.answer["test_accuracy"] * first.answer["test_images"]) and len(by_model) == len(tested)
    (block,) = re.findall(r"```python\n(import kennel.*?)```", (ROOT / "docs" / "tutorial.md").read_text(), re.DOTALL)
    code = block.replace("runs/photos-c1ea9b10", str(terminal.runs / RUN)).replace("holiday/dog.jpg", str(tested[0]))
    printed = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    label, score = printed.stdout.split(" ")
    assert label == by_model[0]["label"] and float(score) == pytest.approx(by_model[0]["score"])
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 1 + len(tested)
    assert (tmp_path / "found.html").read_text().count('<img src="data:image/jpeg') == len(tested)


def test_a_photo_that_is_none_is_said_beside_the_others_and_ends_with_9(
    first: Finished, terminal: Terminal, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "none.jpg").write_bytes(b"no photo")
    photo = str(next((photos / "test").rglob("*.jpg")))

    for way in ((), ("--local",)):
        found = terminal.kennel("predict", RUN, photo, str(tmp_path), *way, "--json")
        good, bad = found.answer["predictions"]
        assert found.code == 9 and good["error"] is None and "JPEG" in bad["error"] and bad["label"] is None
    for given in ((), (str(tmp_path / "missing.jpg"),), (str(photos.parent / "empty"),)):
        assert terminal.kennel("predict", RUN, *given).code == SettingsRefused.exit_code


@needs_browser
def test_the_run_took_screens_of_itself_which_the_writeup_shows_and_checks(
    first: Finished, terminal: Terminal, calls: Calls
) -> None:
    folder = terminal.runs / RUN
    taken = json.loads((folder / "evidence.json").read_bytes())
    names = [each["name"] for each in taken["screens"]]
    assert names == ["bucket", "model", "endpoint", "function", "role", "concurrency"] and taken["notes"] == []
    assert all((folder / each["file"]).read_bytes().startswith(b"\x89PNG") for each in taken["screens"])
    assert 'href="evidence/endpoint.png"' in (folder / "report.html").read_text()

    calls.seen.clear()
    again = terminal.kennel("evidence", RUN, "--json")
    assert (again.code, calls.mutating()) == (0, []), again.err
    assert differences("evidence", again.answer) == []
    assert [each["name"] for each in again.answer["screens"]] == names

    assert terminal.kennel("writeup", RUN).code == 0
    assert terminal.kennel("writeup", RUN, "--check").code == 0
    picture = folder / "evidence" / "role.png"
    kept = picture.read_bytes()
    picture.write_bytes(kept[:-1])
    changed = terminal.kennel("writeup", RUN, "--check")
    picture.write_bytes(kept)
    assert changed.code == 9 and "evidence/role.png cannot be cited" in changed.err
    assert f"next: kennel evidence {RUN}" in changed.err


def test_a_run_that_does_not_exist_has_no_evidence(first: Finished, terminal: Terminal) -> None:
    refused = terminal.kennel("evidence", "nothing")
    assert refused.code == SettingsRefused.exit_code and "nothing" in refused.err


def test_the_plan_of_a_finished_run_adopts_everything_by_its_name(
    first: Finished, terminal: Terminal, calls: Calls, command: tuple[str, ...]
) -> None:
    again = plan(terminal, calls, *command[1:])
    assert again.mutating == []
    assert [(each["kind"], each["name"]) for each in again.answer["resources"]] == [
        (row.kind, row.name) for row in read_ledger(terminal.runs / RUN)[1]
    ]
    assert {each["action"] for each in again.answer["resources"]} == {"adopt"}
    assert [each["what"] for each in again.answer["costs"]] == ["endpoint, 1 × ml.m5.large", "function, AWS Lambda"]


def test_more_instances_are_planned_as_a_new_configuration_that_replaces_the_endpoints(
    first: Finished, terminal: Terminal, calls: Calls, command: tuple[str, ...]
) -> None:
    answer = plan(terminal, calls, *command[1:], "--endpoint-instances", "2").answer
    changed = [(each["kind"], each["action"]) for each in answer["resources"] if each["action"] != "adopt"]
    assert changed == [("endpoint-config", "create"), ("endpoint", "replace")]


def test_the_estimate_of_a_training_is_within_a_fifth_of_what_was_billed_at_its_rate(
    planned: Planning, first: Finished, terminal: Terminal, calls: Calls
) -> None:
    """The first estimate has the bill in its range; that of a like training goes by the billed seconds."""
    record = json.loads((terminal.runs / RUN / "train_sagemaker.json").read_bytes())
    billed = 2 * record["billable_seconds"] / 3600 * 0.23
    assert planned.answer["costs"][0]["usd"]["likely"] is None
    assert billed <= planned.answer["costs"][0]["usd"]["most"] == pytest.approx(2 * 0.23)
    like = plan(terminal, calls, "--run-id", "another", *QUICK, *TWO).answer["costs"][0]
    assert like["usd"]["likely"] == pytest.approx(billed, rel=0.2)
    assert like["usd"]["least"] == pytest.approx(billed) and billed <= like["usd"]["most"]


def test_a_run_that_may_cost_more_than_its_budget_ends_with_13_before_it_makes_anything(
    first: Finished, terminal: Terminal, calls: Calls, photos: Path
) -> None:
    calls.seen.clear()
    refused = terminal.kennel("run", "--data", str(photos), "--run-id", "dear", *QUICK, "--budget", "0.01", "--json")
    assert refused.code == 13, refused.err
    assert refused.answer["error"]["kind"] == "SpendingRefused"
    assert calls.mutating() == []


def test_what_a_run_makes_carries_the_end_of_its_time_to_live(
    first: Finished, terminal: Terminal, own_localaws: RunningLocalAws
) -> None:
    at = expiry_tags(terminal.runs / RUN)["kennel-expires"]
    tagging = own_localaws.client("resourcegroupstaggingapi")
    pages = tagging.get_paginator("get_resources").paginate(TagFilters=[{"Key": "kennel-expires", "Values": [at]}])
    found = {each["ResourceARN"].split(":")[2] for page in pages for each in page["ResourceTagMappingList"]}
    assert {"lambda", "sagemaker"} <= found
    role = own_localaws.client("iam").get_role(RoleName=f"kennel-{RUN}-endpoint")["Role"]
    assert {"Key": "kennel-expires", "Value": at} in role["Tags"]


def test_a_zip_of_photos_becomes_a_live_function_and_the_json_says_so(
    first: Finished, terminal: Terminal, calls: Calls
) -> None:
    assert first.code == 0, first.err
    answer = first.answer
    assert (answer["run_id"], answer["classes"], answer["test_images"], answer["instances"]) == (RUN, 3, 12, 2)
    assert differences("run", answer) == []
    assert answer["test_accuracy"] >= 0.9
    assert answer["loadtest"]["failures"] == 0
    assert f"{answer['test_accuracy']:.4f} on 12 images" in Path(answer["report"]).read_text()
    sagemaker = boto3.client("sagemaker", endpoint_url=calls.url, region_name="us-east-1", **KEYS)
    assert sagemaker.describe_endpoint(EndpointName=answer["endpoint"])["EndpointStatus"] == "InService"


def test_the_function_fetches_a_photo_from_the_host_that_was_named_and_from_no_other_port(
    first: Finished, calls: Calls, served: str
) -> None:
    lambda_ = boto3.client("lambda", endpoint_url=calls.url, region_name="us-east-1", **KEYS)

    def ask(url: str) -> Any:
        name = f"kennel-{RUN}-classify"
        reply = lambda_.invoke(FunctionName=name, Qualifier="live", Payload=json.dumps({"url": url}))
        return json.loads(reply["Payload"].read())

    found = ask(f"http://{served}/test/red/0.jpg")
    assert found["statusCode"] == 200, found
    assert json.loads(found["body"])["top5"][0]["label"] == "red"
    assert ask(f"{calls.url}/photo.jpg")["statusCode"] == 400


def test_the_functions_url_classifies_a_photo_that_is_uploaded_by_who_signs(first: Finished, photos: Path) -> None:
    url, photo = Url(RUN, first.answer["function_url"]), (photos / "test" / "red" / "0.jpg").read_bytes()
    answer = url.signed(body=photo)
    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["top5"][0]["label"] == "red"
    assert url.send("/", "POST", photo).status == 403


def test_both_hosts_saw_disjoint_shards(first: Finished, terminal: Terminal) -> None:
    logs = terminal.kennel("logs", RUN)
    lines = [line for line in logs.out.splitlines() if "split=train shards=" in line]
    names = [set(line.partition("names=")[2].split(",")) for line in lines]
    assert len(names) == 2, logs.out[-2000:] + logs.err
    assert names[0].isdisjoint(names[1])
    assert len(names[0] | names[1]) == 8


def test_the_same_command_with_a_new_signature_adopts_everything_and_changes_nothing(
    first: Finished, terminal: Terminal, calls: Calls, command: tuple[str, ...]
) -> None:
    calls.seen.clear()
    again = terminal.kennel(*(f"{word}2" if word.endswith(SECRET) else word for word in command), *LOAD, "--json")
    assert again.code == 0, again.err
    assert calls.mutating() == []
    assert calls.seen, "the proxy saw nothing: the command did not use the endpoint that it was given"
    same = ("training_job", "model", "endpoint", "function_alias", "test_accuracy")
    assert {key: again.answer[key] for key in same} == {key: first.answer[key] for key in same}


def test_the_secrets_in_the_url_of_the_data_are_nowhere(
    first: Finished, terminal: Terminal, own_localaws: RunningLocalAws
) -> None:
    """Neither in Prefect's database and logs, in records and reports, in objects on S3, nor in what was printed."""
    folders = (terminal.home, terminal.runs, own_localaws.home)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {"prefect.db", "download.json", "stage_data.json", "report.html"} <= {path.name for path in files}
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in first.out + first.err
    assert json.loads((terminal.runs / RUN / "stage_data.json").read_bytes())["source"].endswith(f"/.../{RUN}.zip")


def test_every_flow_is_deployed_and_a_worker_runs_the_pipeline(
    first: Finished, terminal: Terminal, calls: Calls, photos: Path, served: str, tmp_path: Path
) -> None:
    exported = terminal.kennel("up")
    assert exported.code == 0, exported.err
    prefect = dict(line.removeprefix("export ").split("=", 1) for line in exported.out.splitlines())
    deployed = terminal.program("-m", "prefect", "--no-prompt", "deploy", "--all", more=prefect)
    assert deployed.code == 0, deployed.out + deployed.err
    with worker(terminal, prefect, tmp_path / "worker.log"):
        parameters = {
            "data": str(photos),
            "run_id": RUN,
            "training": {"backbone": "efficientnet_lite0", "instances": 2, "epochs": 3, "views": 1},
            "deploy": {"allowed_hosts": [served], "public_url": "iam"},
            "load": {"rate_per_second": 20, "seconds": 2},
        }
        calls.seen.clear()
        run = terminal.program(
            *("-m", "prefect", "deployment", "run", "pipeline/pipeline", "--watch", "--watch-interval", "1"),
            *("--params", json.dumps(parameters)),
            more=prefect,
        )
        assert run.code == 0, run.out + run.err + (tmp_path / "worker.log").read_text()[-3000:]
        assert "Completed" in run.out
        assert calls.mutating() == []
        training = {"training": {"backbone": "efficientnet_lite0", "epochs": 3, "views": 1}}
        server = PrefectServer(prefect["PREFECT_API_URL"], prefect["PREFECT_API_AUTH_STRING"], calls)
        assert server.end_while_an_instance_starts("train_ec2", {"run_id": RUN, **training}, "cancel") == "CANCELLED"
        assert (
            server.end_while_an_instance_starts("pipeline", {**parameters, "ec2_instances": 1}, "SIGTERM") == "CRASHED"
        )
    refuse_what_is_not_nested(terminal, prefect)


def refuse_what_is_not_nested(terminal: Terminal, prefect: dict[str, str]) -> None:
    """A flat parameter, an unknown name in a record and a value out of bounds are each named, and start no flow run."""
    for parameter, words in (
        ("backbone=resnet50", "'training', 'ec2_instances', 'deploy', 'load_test', 'load'"),
        ('training={"bakcbone": "resnet50"}', "'bakcbone' was unexpected"),
        ('training={"epochs": 0}', "0 is less than the minimum of 1"),
    ):
        command = ("-m", "prefect", "deployment", "run", "pipeline/pipeline", "-p", parameter)
        refused = terminal.program(*command, more=prefect)
        assert refused.code == 1
        assert words in " ".join((refused.out + refused.err).split())


def test_no_other_user_can_read_anything_of_the_home_the_runs_and_the_embedded_aws(
    first: Finished, terminal: Terminal, own_localaws: RunningLocalAws
) -> None:
    """After commands and a worker with the usual umask; the endpoint still runs."""
    assert open_to_others(terminal.home, terminal.runs, own_localaws.home) == []
    for name in ("prefect/prefect.db", "logs/prefect.log"):
        assert (terminal.home / name).exists(), "the test would prove nothing"
    for name in ("server.json", "objects", "endpoints", "functions", "jobs"):
        assert (own_localaws.home / name).exists(), "the test would prove nothing"


def test_a_flat_parameter_in_a_call_of_the_flow_is_refused_with_the_records_that_it_takes() -> None:
    with pytest.raises(ParameterBindError, match=r"training: \S*TrainingOptions'? = TrainingOptions\(backbone="):
        pipeline(backbone="resnet50")  # type: ignore[call-overload]


def test_a_load_test_that_fails_the_command_comes_after_the_table(
    first: Finished, terminal: Terminal, command: tuple[str, ...]
) -> None:
    """Three hundred times what the endpoint can do: the generator cannot keep up, or nothing is answered in time."""
    load = ("--load-rate-per-second", "5000", "--load-seconds", "1")
    with OnATerminal(terminal, *command, *load) as shown:
        assert shown.end(150) in {9, 11}, shown.plain[-3000:]
    table, error = shown.plain.rindex("test accuracy"), shown.plain.rindex("kennel: loadtest")
    assert table < error
    assert "Ask it:" in shown.plain and f"--function-name kennel-{RUN}-classify" in shown.plain
    assert "kennel: loadtest" in (terminal.runs / RUN / "kennel.log").read_text()


def test_a_signal_ends_the_wait_for_an_endpoint_and_a_load_test_with_its_generator(
    first: Finished, terminal: Terminal, calls: Calls, photos: Path
) -> None:
    data = ("-m", "kennel", "run", "--data", str(photos), "--run-id", RUN, *QUICK, *TWO)
    two = ("--endpoint-instances", "2")
    with held(calls, "SageMaker.UpdateEndpoint") as stage, started(terminal, *data, *two) as process:
        wait_for_stage(process, stage)
        check(send(process, signal.SIGTERM), signal.SIGTERM)
    with started(terminal, "-m", "kennel", "loadtest", RUN, "--seconds", "300") as process:
        generators = wait_until(lambda: generators_of(process.pid), "the load generator", seconds=120)
        check(send(process, signal.SIGINT), signal.SIGINT)
    wait_until(lambda: not any(command_line(each) for each in generators), "the end of the load generator")


def test_data_whose_images_are_refused_leaves_no_run_folder(
    first: Finished, terminal: Terminal, tmp_path: Path
) -> None:
    for split in ("train", "valid", "test"):
        for name in ("a", "b"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            (folder / "1.jpg").write_bytes(b"no picture")
    done = terminal.kennel("run", "--data", str(tmp_path / "data"), "--run-id", "refused")
    assert done.code == 3, done.err
    assert not (terminal.runs / "refused").exists()


def test_down_leaves_no_resource_and_no_process(first: Finished, terminal: Terminal, calls: Calls) -> None:
    assert terminal.processes(), "nothing ran for this home: the test would prove nothing"
    done = terminal.kennel("down", "--yes", "--json")
    assert done.code == 0, done.err
    assert differences("down", done.answer) == []
    assert resources(calls.url) == []
    assert terminal.processes() == []
    status = terminal.kennel("status", "--json").answer
    assert status["runs"][0]["live"] == []
    assert differences("status", status) == []


KEYS = for_boto3()


def resources(url: str) -> list[str]:
    """Name everything of kennel that exists at an endpoint, asking AWS and not our ledger."""
    client = {
        name: boto3.client(name, endpoint_url=url, region_name="us-east-1", **KEYS)
        for name in ("s3", "iam", "sagemaker", "lambda", "logs")
    }
    sagemaker = client["sagemaker"]
    found = [bucket["Name"] for bucket in client["s3"].list_buckets()["Buckets"]]
    found += [role["RoleName"] for role in client["iam"].list_roles()["Roles"]]
    found += [model["ModelName"] for model in sagemaker.list_models()["Models"]]
    found += [config["EndpointConfigName"] for config in sagemaker.list_endpoint_configs()["EndpointConfigs"]]
    found += [endpoint["EndpointName"] for endpoint in sagemaker.list_endpoints()["Endpoints"]]
    found += [function["FunctionName"] for function in client["lambda"].list_functions()["Functions"]]
    found += [group["logGroupName"] for group in client["logs"].describe_log_groups()["logGroups"]]
    return [name for name in found if "kennel" in name]


def test_an_interrupted_run_says_what_is_left_and_how_to_remove_it(tmp_path: Path, photos: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    command = [sys.executable, "-m", "kennel", "run", "--data", str(photos), *QUICK]
    with subprocess.Popen(
        command, cwd=ROOT, env=terminal.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        record = terminal.home / "processes" / "prefect.json"
        wait_until(lambda: record.exists() or process.poll() is not None, "Prefect's server", seconds=60)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "kennel: interrupted" in err
    assert "kennel down --yes" in err
    assert "Traceback" not in err
    assert terminal.kennel("down", "--yes").code == 0
    assert terminal.processes() == []


def test_a_run_killed_half_way_is_taken_down_to_nothing(tmp_path: Path, photos: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    begun = time.monotonic()
    killed = terminal.kennel(
        *("run", "--data", str(photos), "--run-id", RUN, *QUICK, "--no-loadtest"),
        more={"KENNEL_CRASH_AT": "training-job:after"},
    )
    assert killed.code == -9, killed.err
    assert terminal.processes(), f"nothing survived the kill after {time.monotonic() - begun:.0f} s"
    done = terminal.kennel("down", "--yes", "--json")
    assert done.code == 0, done.err
    assert any(name.startswith("training-job ") for name in done.answer["removed"])
    assert terminal.processes() == []
    assert terminal.kennel("status", "--json").answer["runs"][0]["live"] == []
