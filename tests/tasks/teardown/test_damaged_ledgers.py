"""A damaged ledger is rebuilt from its undamaged rows and the tags, and blocks no other run; a lost AWS's is closed."""

import shutil
from pathlib import Path

import pytest

from tasks.account.bucket import ensure_bucket
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import LedgerRefused
from tasks.run.handle import Run
from tasks.run.ledger import Ledger
from tasks.run.ledger_contents import inspect_ledger, read_ledger, unread_ledgers
from tasks.run.ledger_file import FILE_NAME, append
from tasks.run.settings import Settings
from tasks.teardown.rebuild import rebuild_if_damaged, working_on
from tasks.teardown.teardown import tear_down
from tests.conftest import RunningLocalAws
from tests.localaws.roles import trust

TRUST = trust("lambda")


@pytest.fixture
def aws(own_localaws: RunningLocalAws, tmp_path: Path) -> Aws:
    return Aws(Settings(endpoint_url=own_localaws.url, home=tmp_path / "home", runs=tmp_path / "runs"))


def make_run(aws: Aws, run_id: str) -> Run:
    """Make a bucket, which is that of all runs, two roles and a log group, with their rows."""
    run, tags = Run(aws, run_id), naming.tag_list(run_id)
    ensure_bucket(run)
    for name in (f"kennel-{run_id}-one", f"kennel-{run_id}-two"):
        with run.ledger.create("role", name, None) as row:
            aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Tags=tags)
            row.identifier = name
    group = f"/aws/lambda/kennel-{run_id}"
    with run.ledger.create("log-group", group, None):
        aws.client("logs").create_log_group(logGroupName=group, tags=naming.tags(run_id))
    return run


def remove_all(aws: Aws, run_id: str | None = None) -> list[str]:
    lines: list[str] = []
    tear_down(aws, run_id, yes=True, say=lines.append)
    return lines


def live(run: Run) -> set[tuple[str, str]]:
    return {(row.kind, row.name) for row in inspect_ledger(run.folder).live}


def damage(run: Run, old: str, new: str) -> Path:
    path = run.folder / FILE_NAME
    path.write_text(path.read_text().replace(old, new))
    return path


def test_lost_rows_are_rebuilt_from_the_tags_and_said(aws: Aws) -> None:
    run = make_run(aws, "torn")
    before, lines = live(run), list[str]()
    path = damage(run, "kennel-torn-two", "kennel-torn-xyz")
    assert rebuild_if_damaged(Run(aws, "torn"), say=lines.append)
    assert live(run) == before
    assert lines[0].startswith(f"WARNING: {path}:6 is damaged: the line, or its place")
    assert lines[0].endswith(f"it is kept as {path}.damaged-1")
    assert lines[1] == "run torn: its ledger was rebuilt: 3 resources from its undamaged rows, 1 from their tags"
    assert not rebuild_if_damaged(Run(aws, "torn"), say=lines.append) and len(lines) == 2
    remove_all(aws)


def test_an_empty_ledger_is_rebuilt_when_a_flow_begins(aws: Aws) -> None:
    run = make_run(aws, "empty")
    before = live(run)
    (run.folder / FILE_NAME).write_bytes(b"")
    with pytest.raises(LedgerRefused, match=r"ledger\.jsonl:1 is damaged"):
        _ = Run(aws, "empty").ledger
    again = Run(aws, "empty")
    with working_on(again, "deploy"):
        assert live(again) == before
    remove_all(aws)


def test_one_bad_ledger_does_not_keep_the_others_from_being_taken_down(aws: Aws) -> None:
    bad, good, unreadable = (make_run(aws, run_id) for run_id in ("bad", "good", "unreadable"))
    path = damage(bad, '"role"', '"rule"')
    (unreadable.folder / FILE_NAME).unlink()
    (unreadable.folder / FILE_NAME).mkdir()
    lines = remove_all(aws)
    assert any(line.startswith((f"{path}:3 is damaged", f"{path}:4 is damaged")) for line in lines)
    assert any(f"{unreadable.folder / FILE_NAME} cannot be read: a folder is in its place" in line for line in lines)
    for run in (bad, good, unreadable):
        assert f"  gone   role kennel-{run.id}-two" in lines
    assert (live(bad), live(good)) == (set(), set())
    assert remove_all(aws)[-1] == "  nothing to remove"


def test_a_row_of_an_unknown_kind_is_told_with_its_line_and_blocks_no_run(aws: Aws) -> None:
    odd, good = make_run(aws, "odd"), make_run(aws, "good")
    append(odd.folder / FILE_NAME, {"kind": "nonsense", "name": "n", "state": "created", "at": "2026-11-28T10:00:00Z"})
    number = (odd.folder / FILE_NAME).read_bytes().count(b"\n")
    lines = remove_all(aws)
    assert any(line.startswith(f"{odd.folder / FILE_NAME}:{number} cannot be read: it has a kind") for line in lines)
    assert {"  gone   role kennel-odd-two", "  gone   role kennel-good-two"} <= set(lines)
    assert live(good) == set() and len(unread_ledgers(aws.settings.runs, None)) == 1


def test_the_rows_of_an_embedded_aws_that_has_ended_are_closed_and_the_private_keys_with_them(aws: Aws) -> None:
    past = Ledger(
        aws.settings.run_dir("past"),
        account_id=aws.account_id,
        endpoint=aws.endpoint,
        home=aws.identity.home,
        generation="former",
    )
    past.record("bucket", aws.bucket, "intended")
    past.record("key-pair", "kennel-past", "created")
    key = past.path.parent / "ec2" / "login_key"
    key.parent.mkdir()
    key.touch()
    aws.client("s3").create_bucket(Bucket=aws.bucket)  # by somebody else, who gave it no tags
    assert not any("belongs to" in line for line in remove_all(aws))
    assert past.live() == []
    assert [bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]] == [aws.bucket]
    aws.client("s3").delete_bucket(Bucket=aws.bucket)


def test_a_damaged_ledger_of_another_account_stays_as_it_is(aws: Aws) -> None:
    other = Ledger(aws.settings.run_dir("other"), account_id="210987654321", endpoint="aws")
    other.record("role", "kennel-other-one", "created")
    other.record("role", "kennel-other-two", "created")
    content = other.path.read_bytes().replace(b"kennel-other-two", b"kennel-other-xyz")
    other.path.write_bytes(content)
    lines = remove_all(aws)
    assert f"{other.path} belongs to aws; it is not changed" in lines
    assert other.path.read_bytes() == content
    with pytest.raises(LedgerRefused, match="belongs to account 210987654321 at aws"):
        rebuild_if_damaged(Run(aws, "other"), say=lines.append)
    assert [row.name for row in read_ledger(other.path.parent)[1]] == ["kennel-other-one"]


def test_a_copied_folder_of_a_run_keeps_nothing(aws: Aws) -> None:
    run = make_run(aws, "first")
    shutil.copytree(run.folder, run.folder.with_name("first.bak"))
    shutil.copytree(run.folder, run.folder.with_name("second"))
    lines = remove_all(aws)
    for name in ("first.bak", "second"):
        assert any(f"{name}/{FILE_NAME} is the ledger of run first" in line for line in lines)
    assert "  gone   role kennel-first-one" in lines and live(run) == set()
    assert remove_all(aws)[-1] == "  nothing to remove"


def test_a_run_without_its_ledger_is_said_and_removed_by_its_tags(aws: Aws) -> None:
    run = make_run(aws, "lost")
    (run.folder / FILE_NAME).unlink()
    lines = remove_all(aws)
    assert f"{run.folder / FILE_NAME} is missing: what the run created is found by its tags only" in lines
    assert "  gone   role kennel-lost-one" in lines
