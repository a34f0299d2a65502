"""The baseline: what it silences, until when, and what it says about entries that silence nothing."""

from datetime import date
from pathlib import Path

import pytest

from tasks.audit.baseline import read_baseline, silence
from tasks.audit.findings import finding
from tasks.run.errors import SettingsRefused

ARN = "arn:aws:iam::123456789012:role/r"
ENTRY = f'[[accepted]]\nfinding = "trust-foreign"\narn = "{ARN}"\nreason = "the vendor"\nuntil = 2026-12-31\n'
FOUND = (finding("trust-foreign", ARN, "r", "e"), finding("role-unused", ARN, "r", "e"))


def file_with(folder: Path, text: str) -> Path:
    path = folder / "audit.toml"
    path.write_text(text)
    return path


def test_an_entry_silences_its_finding_of_its_arn_to_the_end_of_its_last_day(tmp_path: Path) -> None:
    accepted = read_baseline(file_with(tmp_path, ENTRY))
    assert silence(FOUND, accepted, date(2026, 12, 31)) == (FOUND[1:], (), 1)


def test_an_entry_that_has_ended_silences_nothing_and_is_said(tmp_path: Path) -> None:
    accepted = read_baseline(file_with(tmp_path, ENTRY))
    left, notes, silenced = silence(FOUND, accepted, date(2027, 1, 1))
    assert (left, silenced) == (FOUND, 0)
    assert notes == (f"the baseline's trust-foreign of {ARN} ended on 2026-12-31: the vendor",)


def test_two_findings_of_one_kind_and_resource_are_both_kept_or_both_silenced(tmp_path: Path) -> None:
    two = (FOUND[0], finding("trust-foreign", ARN, "r", "another statement"))
    assert silence(two, (), date(2026, 12, 1)) == (two, (), 0)
    assert silence(two, read_baseline(file_with(tmp_path, ENTRY)), date(2026, 12, 1)) == ((), (), 2)


def test_an_entry_that_matches_nothing_is_said(tmp_path: Path) -> None:
    accepted = read_baseline(file_with(tmp_path, ENTRY))
    left, notes, _ = silence(FOUND[1:], accepted, date(2026, 12, 1))
    assert (left, notes) == (FOUND[1:], (f"the baseline's trust-foreign of {ARN} matches no finding: remove it",))


def test_a_file_without_entries_silences_nothing(tmp_path: Path) -> None:
    assert read_baseline(file_with(tmp_path, "")) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ENTRY.replace("trust-foreign", "trust-foriegn"), "accepted.0.finding='trust-foriegn'"),
        (ENTRY.replace('reason = "the vendor"\n', ""), "accepted.0.reason"),
        (ENTRY.replace('"the vendor"', '""'), "accepted.0.reason=''"),
        (ENTRY.replace("2026-12-31", '"soon"'), "accepted.0.until='soon'"),
        (ENTRY.replace(ARN, "role/r"), "accepted.0.arn='role/r'"),
        (ENTRY + "owner = 1\n", "accepted.0.owner=1"),
        ("silence = 1", "silence=1"),
        ("accepted = [", "Invalid value"),
    ],
)
def test_a_file_that_is_not_allowed_is_refused_by_its_field(tmp_path: Path, text: str, words: str) -> None:
    path = file_with(tmp_path, text)
    with pytest.raises(SettingsRefused) as refused:
        read_baseline(path)
    assert words in str(refused.value) and str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match="No such file"):
        read_baseline(tmp_path / "none.toml")
