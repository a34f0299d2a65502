"""What a doctor's check makes of figures: credentials, clocks, disks, memory, images; and errors of a check itself."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from botocore.credentials import Credentials, RefreshableCredentials

from tasks.account.container_images import INFERENCE, TRAINING
from tasks.doctor.examine import Check, examine
from tasks.doctor.findings import Finding, ok
from tasks.doctor.identity import clock_finding, life_finding
from tasks.doctor.images import patch_finding
from tasks.doctor.machine import (
    disk_finding,
    folder_findings,
    memory_finding,
    namespace_finding,
    namespace_findings,
    python_finding,
)
from tasks.run.assumed_credentials import CredentialLife, life_of
from tests.tasks.run.test_disk import on_small_disk

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
TRAINING_LIMIT_SECONDS = 3600.0


@pytest.mark.parametrize(
    ("minutes", "status", "words"),
    [
        (-3.0, "fail", "expired 3 minutes ago (sso)"),
        (10.0, "fail", "they expire in 10 minutes (sso), and a run takes 20 at least"),
        (60.0, "warn", "they expire in 60 minutes (sso), and a run may take 90"),
        (480.0, "ok", "they expire in 480 minutes (sso)"),
    ],
)
def test_credentials_have_to_hold_for_as_long_as_the_run(minutes: float, status: str, words: str) -> None:
    life = CredentialLife("sso", True, False, NOW + timedelta(minutes=minutes))
    found = life_finding(life, TRAINING_LIMIT_SECONDS, NOW)
    assert (found.status, found.seen) == (status, words)
    assert bool(found.cure) == (status != "ok")


def test_keys_and_what_is_renewed_hold_and_an_unknown_end_is_said() -> None:
    soon = NOW + timedelta(minutes=5)
    lives = [CredentialLife("env", False, False, None), CredentialLife("iam-role", True, True, soon)]
    assert [life_finding(each, 1.0, NOW).status for each in lives] == ["ok", "ok"]
    assert life_finding(CredentialLife("env", True, False, None), 1.0, NOW).status == "warn"


def test_botocores_credentials_tell_how_long_they_hold() -> None:
    ends = datetime.now(UTC) + timedelta(hours=2)
    role = RefreshableCredentials("a", "b", "c", ends, dict, "assume-role")
    assert life_of(role, asks_for_mfa=True) == CredentialLife("assume-role", True, False, ends)
    assert life_of(role, asks_for_mfa=False).is_renewed
    assert life_of(Credentials("a", "b", "token", "env"), asks_for_mfa=False).is_temporary
    assert not life_of(Credentials("a", "b", None, "env"), asks_for_mfa=False).is_temporary


@pytest.mark.parametrize(
    ("ahead", "status", "words"),
    [
        (2.0, "ok", "as AWS's"),
        (90.0, "warn", "90 s ahead of AWS's"),
        (-1230.0, "fail", "20 min 30 s behind AWS's"),
        (None, "warn", "tells no time"),
    ],
)
def test_a_clock_that_is_wrong_is_found_before_aws_refuses_it(ahead: float | None, status: str, words: str) -> None:
    found = clock_finding(ahead)
    assert found.status == status and words in found.seen


def test_a_disk_that_is_nearly_full_and_little_memory_are_found() -> None:
    disks = [disk_finding(Path("/"), free) for free in (0.3, 3.0, 40.0)]
    memories = [memory_finding(free, 2) for free in (0.5, 2.0, 8.0)]
    assert [each.status for each in (*disks, *memories)] == ["fail", "warn", "ok"] * 2
    assert "KENNEL_HOME" in disks[0].cure and "0.3 GB free below /" in disks[0].seen


def test_a_home_that_cannot_be_written_is_found_before_a_run_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert list(folder_findings({"KENNEL_HOME": tmp_path / "new" / "home", "KENNEL_RUNS": tmp_path})) == []
    [found] = folder_findings({"KENNEL_HOME": tmp_path / "file"})
    assert (found.status, found.seen) == ("fail", f"{tmp_path / 'file'} is not a folder")
    said = on_small_disk(
        tmp_path,
        """
from tasks.doctor.machine import folder_findings
mount("ro")
print([(each.status, each.seen, each.cure) for each in folder_findings({"KENNEL_RUNS": disk / "new" / "runs"})])
""",
    )
    assert "('fail', '" in said and "disk is read-only, or this user may not write it'" in said
    assert "export KENNEL_RUNS=<a folder that you may write>" in said


def test_namespaces_are_tried_and_a_refusal_names_the_setting() -> None:
    assert next(namespace_findings()).check == "namespaces"
    refused = namespace_finding("Operation not permitted")
    assert refused.status == "warn" and "apparmor_restrict_unprivileged_userns" in refused.cure
    assert python_finding().status == "ok"


def test_an_image_past_its_patches_is_a_warning_and_ones_own_is_ones_own() -> None:
    today = date(2026, 11, 28)
    assert patch_finding("training", "pytorch:2.13", TRAINING, today).status == "ok"
    over = patch_finding("serving", "pytorch-inference:2.6.0", INFERENCE, today)
    assert over.status == "warn" and "ended on 2026-06-30" in over.seen and "KENNEL_SERVING_IMAGE" in over.cure
    assert "its patches are yours" in patch_finding("serving", "kennel-serving:1", None, today).seen


def test_what_a_check_found_before_it_failed_stays() -> None:
    def half() -> list[Finding]:
        raise KeyError("Subnets")

    def some() -> object:
        yield ok("disk", "room")
        raise ValueError("not a number")

    found = examine([Check("half", half), Check("some", some)], 5.0)  # type: ignore[arg-type]
    assert [(each.check, each.status) for each in found] == [("half", "skipped"), ("disk", "ok"), ("some", "skipped")]
    assert "KeyError" in found[0].seen
