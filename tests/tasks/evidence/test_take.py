"""What a run keeps as evidence: pictures by a real Chromium of a real console, HTML without one, answers of AWS."""

import hashlib
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.account.operator_policy import Account, operator_policies
from tasks.evidence.chromium import find_chromium
from tasks.evidence.described import LOOKS, described_resources
from tasks.evidence.record import Evidence
from tasks.evidence.take import NO_CHROMIUM, NO_CONSOLE, keep_evidence, take_evidence
from tasks.run.errors import LedgerRefused
from tasks.run.handle import Run
from tasks.run.ledger_rows import KINDS
from tasks.run.records import EndpointRef
from tests.browser import needs_browser
from tests.counting_proxy import Fault, counting_proxy
from tests.hostile import CORPUS
from tests.localaws.console.scene import CANARY, Scene
from tests.scripted import Scripted

MakeRun = Callable[..., Run]
NAMES = ["notebooks", "bucket", "ec2", "ec2-console", "endpoint", "function", "role", "concurrency", "autoscaling"]


def program(folder: Path, script: str) -> Callable[[], str]:
    """Return what finds a program that is a shell script."""
    path = folder / "chromium"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return lambda: str(path)


def everything_but_pictures(run: Run) -> bytes:
    """Return all that the run keeps as text; what a picture shows is what its page says, which is kept without one."""
    files = [path for path in run.folder.rglob("*") if path.is_file() and path.suffix != ".png"]
    assert files
    return b"".join(path.read_bytes() for path in files)


@needs_browser
def test_each_screen_is_a_picture_of_the_page_with_its_digest_in_the_record(make_run: MakeRun) -> None:
    run = make_run()
    taken = take_evidence(run)

    assert run.find(Evidence) == taken and taken.notes == ()
    assert [each.name for each in taken.screens] == NAMES
    for each in taken.screens:
        content = (run.folder / each.file).read_bytes()
        assert content.startswith(b"\x89PNG") and each.sha256 == hashlib.sha256(content).hexdigest()
        assert (each.width_px, each.size_bytes) == (1_400, len(content)) and 336 <= each.height_px <= 4_200
        assert (run.folder / each.file).stat().st_mode & 0o777 == 0o600


@needs_browser
def test_the_consoles_token_reaches_no_other_program_and_no_file(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    assert run.settings.console_token is not None and run.settings.endpoint_url is not None
    token = run.settings.console_token.get_secret_value()
    real = find_chromium()
    wrapped = program(tmp_path, f'printf "%s\\n" "$@" > {tmp_path}/told\nenv >> {tmp_path}/told\nexec {real} "$@"')

    taken = take_evidence(run, chromium=wrapped)

    told = (tmp_path / "told").read_text()
    assert all(each.is_picture for each in taken.screens) and "--remote-debugging-pipe" in told
    assert token not in told and "AWS_" not in told and run.settings.endpoint_url not in told
    assert token.encode() not in everything_but_pictures(run)


def test_without_chromium_the_pages_are_kept_as_html_and_that_is_said(make_run: MakeRun) -> None:
    run = make_run()
    taken = take_evidence(run, chromium=lambda: None)

    assert taken.notes == (NO_CHROMIUM,) and [each.name for each in taken.screens] == NAMES
    for each in taken.screens:
        page = (run.folder / each.file).read_bytes()
        assert each.file.endswith(".html") and not each.is_picture
        assert each.sha256 == hashlib.sha256(page).hexdigest() and b"<h1>" in page
    assert run.settings.console_token is not None
    token = run.settings.console_token.get_secret_value()
    assert CANARY.encode() not in everything_but_pictures(run) and token.encode() not in everything_but_pictures(run)


def test_a_chromium_that_ends_leaves_the_pages_and_its_last_words(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    taken = take_evidence(run, chromium=program(tmp_path, "echo no usable sandbox >&2; exit 1"))

    assert len(taken.screens) == len(NAMES) and not any(each.is_picture for each in taken.screens)
    assert taken.notes == ("Chromium: it ended (no usable sandbox), so the pages are kept as HTML",)


def test_files_of_an_earlier_evidence_go(make_run: MakeRun) -> None:
    run = make_run()
    (run.folder / "evidence").mkdir(parents=True)
    (run.folder / "evidence" / "endpoint.png").write_bytes(b"old")

    taken = take_evidence(run, chromium=lambda: None)

    assert {path.name for path in (run.folder / "evidence").iterdir()} == {
        Path(each.file).name for each in taken.screens
    }


def test_until_all_is_gathered_the_earlier_evidence_stays_whole(make_run: MakeRun) -> None:
    run = make_run()
    take_evidence(run, chromium=lambda: None)
    before = {path.name: path.read_bytes() for path in (run.folder / "evidence").iterdir()}
    record = run.path(Evidence).read_bytes()

    def damage() -> None:
        run.ledger.record("instance", "kennel-dogs-2", "created", identifier="i-0000000000000000f")
        run.path(EndpointRef).write_text("{}")

    with pytest.raises(LedgerRefused, match=r"endpoint\.json"):
        take_evidence(run, chromium=damage)

    assert {path.name: path.read_bytes() for path in (run.folder / "evidence").iterdir()} == before
    assert run.path(Evidence).read_bytes() == record


def test_a_console_that_hangs_costs_one_timeout_and_the_answers_are_kept(make_run: MakeRun, scene: Scene) -> None:
    ended = threading.Event()

    def late(content: bytes) -> bytes:
        ended.wait(60)
        return content

    with counting_proxy(scene.server.url) as calls:
        run = make_run(url=calls.url)
        calls.faults.append(Fault("", change=late))
        calls.seen.clear()
        taken = take_evidence(run, chromium=lambda: None, fetch_seconds=0.2)
        ended.set()

    assert taken.screens == () and len([each for each in calls.seen if "/still/" in each]) == 1
    assert taken.notes == ("notebooks: the console did not answer in 0.2 s; no more were asked for",)
    assert {each.kind for each in taken.described} >= {"endpoint", "function", "role"}


def test_an_odd_answer_is_a_fact_and_hides_no_other(tmp_path: Path) -> None:
    odd = {"describe_training_job": lambda **_: {"ResourceConfig": "odd", "TrainingJobStatus": "Completed"}}
    run = Scripted(sagemaker=odd).run(tmp_path)
    for kind, name in (("scalable-target", "odd"), ("training-job", "j"), ("function", "f")):
        run.ledger.record(kind, name, "created")

    found = {each.kind: each.facts["not described"] for each in described_resources(run)}

    usual = "the answer is not of the usual form"
    assert found["scalable-target"].startswith(f"{usual} (ValueError") and found["training-job"].startswith(
        f"{usual} (Attr"
    )
    assert found["function"].startswith(f"{usual} (KeyError")


def test_a_page_that_is_gone_becomes_a_note_and_the_others_are_kept(make_run: MakeRun, scene: Scene) -> None:
    run = make_run()
    run.ledger.record("instance", "kennel-dogs-2", "created", identifier="i-0000000000000000f")

    taken = take_evidence(run, chromium=lambda: None)

    assert "ec2-console: the console answered with status 404" in taken.notes
    assert len(taken.screens) == len(NAMES) - 1
    gone = next(each for each in taken.described if each.name == "kennel-dogs-2")
    assert "InvalidInstanceID" in gone.facts["not described"]


def test_on_an_aws_without_a_console_its_answers_are_the_evidence(make_run: MakeRun, scene: Scene) -> None:
    taken = take_evidence(make_run(has_console=False))

    assert taken.screens == () and taken.notes == (NO_CONSOLE,)
    found = {each.kind: each.facts for each in taken.described}
    assert found["endpoint"] == {
        "status": "InService",
        "configuration": found["endpoint"]["configuration"],
        "instances": "AllTraffic: 1 of 1",
    }
    assert found["scalable-target"]["instances"] == "1 to 3"
    assert found["scalable-target"]["policy"].startswith("SageMakerVariantInvocationsPerInstance at 60.0")
    assert found["function"]["reserved concurrency"] == "5" and found["function-alias"] == {"version": "1"}
    assert found["provisioned-concurrency"]["available"] == "1 of 1"
    assert found["notebook-instance"] == {"status": "InService", "type": "ml.t3.medium"}
    assert found["instance"]["state"] == "running" and found["training-job"]["status"] == "Completed"
    assert {each.call.partition(":")[0] for each in taken.described} >= {"sagemaker", "lambda", "ec2", "s3", "iam"}


def test_only_describing_calls_are_made(make_run: MakeRun, scene: Scene) -> None:
    with counting_proxy(scene.server.url) as calls:
        taken = take_evidence(make_run(url=calls.url), chromium=lambda: None)
        assert len(taken.screens) == len(NAMES) and len(calls.seen) > len(LOOKS)
        assert calls.mutating() == []


def test_every_call_is_one_that_the_operator_is_allowed() -> None:
    policies = operator_policies(Account("123456789012", "us-east-1")).values()
    allowed = {action for each in policies for statement in each["Statement"] for action in statement["Action"]}
    named = {"s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock"}
    assert [each.call for each in LOOKS.values() if named.get(each.call, each.call) not in allowed] == []
    assert set(LOOKS) <= KINDS


def test_evidence_is_taken_again_only_when_the_run_made_or_measured_something(make_run: MakeRun) -> None:
    run = make_run()

    def kept() -> str:
        keep_evidence(run, chromium=lambda: None)
        found = run.find(Evidence)
        assert found is not None
        return found.about

    first = kept()
    (run.folder / "evidence" / "role.html").write_bytes(b"mark")
    assert kept() == first and (run.folder / "evidence" / "role.html").read_bytes() == b"mark"
    (run.folder / "scaling.json").write_text("{}")
    second = kept()
    assert second != first and (run.folder / "evidence" / "role.html").read_bytes() != b"mark"
    run.ledger.record("instance", "kennel-dogs-1", "removed")
    assert kept() not in (first, second)


@needs_browser
def test_hostile_names_are_drawn_as_text_and_a_page_without_end_is_cut(make_run: MakeRun, scene: Scene) -> None:
    s3 = scene.server.client("s3")
    for number, text in enumerate(text for text in CORPUS if text.isprintable()):
        for copy in range(10):
            s3.put_object(Bucket=scene.bucket, Key=f"folder/{number} {copy} {text}", Body=b"x")

    run = make_run()
    pages = take_evidence(run, chromium=lambda: None)
    page = next(run.folder / each.file for each in pages.screens if each.name == "bucket").read_text()
    body = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL)
    assert re.search(r"<(script|img|iframe|svg|!--)", body) is None and "&lt;script&gt;" in body
    drawn = {each.name: each for each in take_evidence(run).screens}
    assert drawn["bucket"].is_picture and drawn["bucket"].is_cut and drawn["bucket"].height_px == 4_200
