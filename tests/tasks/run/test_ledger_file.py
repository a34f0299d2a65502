"""Damage of a ledger's file is found with its line, what is whole is kept, and what a crash leaves is no damage."""

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.run import ledger_file
from tasks.run.errors import LedgerRefused
from tasks.run.ledger import Ledger, renew_ledger
from tasks.run.ledger_contents import inspect_ledger, live_rows, read_ledger
from tasks.run.ledger_file import FILE_NAME, HEAD_NAME, Fault, scan

ROWS = 5
KEPT = Path(__file__).with_name("release_0_1_0") / "ledgers"


def open_ledger(run_dir: Path) -> Ledger:
    return Ledger(run_dir, account_id="123456789012", endpoint="aws")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a header and five rows, which the tests may damage; `whole` is what the file held."""
    folder = tmp_path_factory.mktemp("run")
    ledger = open_ledger(folder)
    for number in range(ROWS):
        ledger.record("role", f"role-{number}", "created", error=f'rölé-{number} "')
    return folder


@pytest.fixture(scope="module")
def whole(run_dir: Path) -> bytes:
    return (run_dir / FILE_NAME).read_bytes()


def first_fault(run_dir: Path, content: bytes) -> int | None:
    (run_dir / FILE_NAME).write_bytes(content)
    faults = inspect_ledger(run_dir).faults
    return faults[0].line if faults else None


def test_a_ledger_as_it_was_written_has_no_fault(run_dir: Path, whole: bytes) -> None:
    assert first_fault(run_dir, whole) is None
    assert [row.name for row in read_ledger(run_dir)[1]] == [f"role-{number}" for number in range(ROWS)]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_any_changed_byte_is_found_with_its_line(run_dir: Path, whole: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda each: each != whole[place]))
    line = whole[:place].count(b"\n") + 1
    assert first_fault(run_dir, whole[:place] + bytes([byte]) + whole[place + 1 :]) == line


def test_every_flip_of_a_single_bit_is_found_with_its_line(run_dir: Path, whole: bytes) -> None:
    for place in range(0, len(whole), 29):
        for bit in range(8):
            flipped = whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
            assert first_fault(run_dir, flipped) == whole[:place].count(b"\n") + 1


@pytest.mark.parametrize("dropped", range(1, ROWS + 2))
def test_a_line_that_was_dropped_is_found_where_it_was(run_dir: Path, whole: bytes, dropped: int) -> None:
    lines = whole.splitlines(keepends=True)
    assert first_fault(run_dir, b"".join(lines[: dropped - 1] + lines[dropped:])) == dropped


@given(st.data())
@settings(deadline=None)
def test_two_lines_that_changed_places_are_found_at_the_first(run_dir: Path, whole: bytes, data: st.DataObject) -> None:
    lines = whole.splitlines(keepends=True)
    one, two = sorted(data.draw(st.lists(st.integers(0, ROWS), min_size=2, max_size=2, unique=True)))
    lines[one], lines[two] = lines[two], lines[one]
    assert first_fault(run_dir, b"".join(lines)) == one + 1


@given(st.data())
@settings(deadline=None)
def test_a_file_that_was_cut_is_found_at_its_first_missing_line(
    run_dir: Path, whole: bytes, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, len(whole) - 2))
    assert first_fault(run_dir, whole[:length]) == (whole[: length + 1].count(b"\n") or 0) + 1


def test_a_last_line_without_its_newline_is_whole_and_continued(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.record("role", "r", "intended")
    ledger.path.write_bytes(ledger.path.read_bytes()[:-1])
    assert [row.name for row in ledger.rows()] == ["r"]
    ledger.record("role", "s", "intended")
    assert [row.name for row in open_ledger(tmp_path).rows()] == ["r", "s"]


def test_a_line_that_a_crash_left_incomplete_is_no_damage(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    with ledger.path.open("ab") as file:
        file.write(b'{"kind": "endp')
    assert scan(ledger.path).faults == ()
    ledger.record("role", "r", "intended")
    assert [row.kind for row in ledger.rows()] == ["role"]


def test_a_head_that_lags_after_a_crash_or_is_missing_is_no_damage(tmp_path: Path) -> None:
    ledger, head = open_ledger(tmp_path), tmp_path / HEAD_NAME
    kept = head.read_text()
    ledger.record("role", "r", "intended")
    head.write_text(kept)
    ledger.record("role", "s", "intended")
    assert scan(ledger.path).faults == () and head.read_text().startswith("3 ")
    for content in ("", "many lines"):
        head.write_text(content)
        assert scan(ledger.path).faults == ()
    head.unlink()
    assert scan(ledger.path).faults == ()


def test_rows_that_are_lost_while_a_run_goes_on_are_not_hidden_by_later_ones(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.record("role", "r", "intended")
    ledger.path.write_bytes(ledger.path.read_bytes().splitlines(keepends=True)[0])
    for number in range(3):
        ledger_file.append(ledger.path, {"kind": "role", "name": str(number), "state": "created", "at": ""})
    with pytest.raises(LedgerRefused, match=r"ledger\.jsonl:2 is damaged\n.*lines were lost"):
        read_ledger(tmp_path)


def test_damage_is_refused_with_its_line_and_the_command_that_rebuilds_the_ledger(run_dir: Path, whole: bytes) -> None:
    (run_dir / FILE_NAME).write_bytes(whole.replace(b"created", b"removed", 1))
    with pytest.raises(LedgerRefused) as caught:
        open_ledger(run_dir)
    assert caught.value.what == f"{run_dir / FILE_NAME}:2 is damaged"
    assert f"kennel down {run_dir.name} --yes" in caught.value.next_command


def test_a_renewed_ledger_has_the_undamaged_live_rows_and_the_old_file_is_kept(run_dir: Path, whole: bytes) -> None:
    damaged = whole.replace(b"l\\u00e9-2", b"l\\u00e9-7", 1)
    for number in (1, 2):
        (run_dir / FILE_NAME).write_bytes(damaged)
        aside = renew_ledger(run_dir)
        assert (aside.name, aside.read_bytes()) == (f"{FILE_NAME}.damaged-{number}", damaged)
        assert [row.name for row in read_ledger(run_dir)[1]] == [f"role-{n}" for n in (0, 1, 3, 4)]
        assert inspect_ledger(run_dir).faults == ()
        (run_dir / HEAD_NAME).unlink()


def test_an_empty_file_is_damage_and_leaves_no_ledger(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch()
    assert [(fault.line, fault.why) for fault in inspect_ledger(tmp_path).faults] == [(1, "the file is empty")]
    assert live_rows(tmp_path) == []
    assert renew_ledger(tmp_path).exists() and not (tmp_path / FILE_NAME).exists()


def test_a_file_that_may_not_be_read_is_refused_by_its_path(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(LedgerRefused, match=r"ledger\.jsonl cannot be read: Is a directory|cannot be read"):
        inspect_ledger(tmp_path)


def test_a_ledger_of_a_later_release_is_refused_and_not_called_damaged_by_another_name(tmp_path: Path) -> None:
    ledger_file.append(tmp_path / FILE_NAME, {"header": {"ledger": 3}})
    with pytest.raises(LedgerRefused, match=r"jsonl:1 cannot be read\n.*its format is 3, not 2: another release"):
        read_ledger(tmp_path)


def test_a_lone_surrogate_of_a_file_name_is_written_and_read_back(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.record("role", "r", "uncertain", error="photo\udcff.jpg")
    assert [row.error for row in ledger.rows()] == ["photo\udcff.jpg"]


def test_a_ledger_of_release_0_1_0_is_read_unchecked_and_sealed_with_the_next_row(tmp_path: Path) -> None:
    folder = tmp_path / "photos-aws"
    folder.mkdir()
    path = folder / FILE_NAME
    path.write_bytes((KEPT / "aws.jsonl").read_bytes())
    before = read_ledger(folder)[1]
    assert {row.kind for row in before} >= {"bucket", "role", "endpoint"}
    ledger = Ledger(folder, account_id="210987654321", endpoint="aws", region="eu-west-1")
    assert ledger.rows() == before and ledger.lost == ()
    lines = len(path.read_bytes().splitlines())
    path.write_bytes(path.read_bytes().replace(b'"created"', b'"removed"', 1))
    assert [fault.line for fault in inspect_ledger(folder).faults] == [lines]


def test_a_ledger_that_is_read_while_lines_are_appended_has_no_fault(tmp_path: Path) -> None:
    ledger, faults = open_ledger(tmp_path), list[Fault]()

    def append() -> None:
        for number in range(100):
            ledger.record("role", f"r{number}", "created")

    writer = threading.Thread(target=append)
    writer.start()
    while writer.is_alive():
        faults += scan(ledger.path).faults
    writer.join()
    assert faults == []


def test_a_line_appended_between_the_two_reads_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, read = open_ledger(tmp_path), Path.read_bytes

    def read_and_append(path: Path) -> bytes:
        content = read(path)
        if path == ledger.path:
            ledger.record("role", "r", "created")
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_append)
    assert scan(ledger.path).faults == ()


def test_a_head_that_cannot_be_written_lags_behind(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    (tmp_path / f"{HEAD_NAME}.part").mkdir()  # refuses root too
    ledger.record("role", "r", "created")
    assert [row.name for row in read_ledger(tmp_path)[1]] == ["r"]


def test_a_link_that_leads_nowhere_is_no_missing_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").symlink_to("/nonexistent/x")
    with pytest.raises(LedgerRefused, match="a link to /nonexistent/x, where nothing is"):
        inspect_ledger(tmp_path)
