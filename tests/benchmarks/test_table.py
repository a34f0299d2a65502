"""Tests that the documents show what the results files have, and that a benchmark's file is read as it was written."""

import json
from pathlib import Path

import pytest

from benchmarks import figures, table
from benchmarks.figures import Figure, Result, of, ratio_of, read_results


def test_the_page_of_benchmarks_is_what_the_results_files_have() -> None:
    assert table.PAGE.read_text() == table.page(read_results()), "run python -m benchmarks.table"


def test_the_table_of_the_readme_is_what_the_results_files_have() -> None:
    text = table.README.read_text()
    assert text == table.with_table(text, table.headline_table(read_results())), "run python -m benchmarks.table"


def test_every_recorded_result_has_a_section_and_every_row_of_the_readme_a_benchmark() -> None:
    shown = {name for section in table.SECTIONS for name in section.benchmarks}
    assert {result.benchmark for result in read_results()} <= shown
    programs = {path.stem for path in Path(table.__file__).parent.glob("*.py")}
    assert shown <= programs and {row.benchmark for row in table.HEADLINES} <= shown


def test_a_ratio_is_the_median_of_pairs_and_keeps_the_least_and_the_most() -> None:
    assert ratio_of("speed-up", [1.0, 2.0, 4.0], [3.0, 4.0, 20.0], "goal >= 2") == Figure(
        "speed-up", 3.0, "x", 3, "goal >= 2", 2.0, 5.0
    )
    assert of("start", [5.0], "s") == Figure("start", 5.0, "s", 1, "", 5.0, 5.0)


def test_a_recorded_figure_replaces_what_was_transcribed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(figures, "_ROOT", tmp_path)
    monkeypatch.setattr("tasks.run.machine.hardware", lambda: "2 × AMD EPYC, Linux x86_64, Python 3.11.7")
    monkeypatch.setattr("sys.argv", ["staging.py", "--record"])
    monkeypatch.setattr(figures, "_run", lambda: ("staging", "python -m benchmarks.staging", "abc", "2026-11-30"))
    figures.publish([ratio_of("staging", [1.0, 1.0], [41.0, 43.0])], ["A note."])
    (path,) = tmp_path.glob("*.json")
    assert path.name == "staging.2-amd-epyc.json" and path.name in capsys.readouterr().out
    (result,) = read_results()
    assert result.figures[0].value == 42.0 and result.notes == ("A note.",)
    row = next(line for line in table.headline_table([result]).splitlines() if "staging" in line)
    assert "| **42×** | 31× ¹ |" in row
    assert "| staging | 42× | 41 to 43 | 2 |  |" in table.page([result])


def test_a_figure_of_another_number_of_cores_is_not_the_machines_of_the_readme() -> None:
    def of_cores(cores: int) -> Result:
        machine = f"{cores} × AMD EPYC, Linux x86_64, Python 3.11.7"
        return Result(
            "staging", "python -m benchmarks.staging", "abc", "2026-11-30", machine, 0.1, (figures_by_cores[cores],)
        )

    figures_by_cores = {cores: Figure("staging", 10.0 + cores, "x", 3) for cores in (2, 16)}
    row = next(line for line in table.headline_table([of_cores(16), of_cores(2)]).splitlines() if "staging" in line)
    assert "**12×**" in row and "26" not in row


def test_a_document_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"README\.md has no part between"):
        table.with_table("# A page", "| a |\n")


def test_results_files_have_all_that_a_figure_needs() -> None:
    for path in figures.RESULTS.glob("*.json"):
        content = json.loads(path.read_text())
        assert Result(**content | {"figures": ()}).file_name == path.name
        assert content["commit"] and content["command"].startswith("python -m benchmarks.")
        assert all(each["n"] >= 1 and each["what"] for each in content["figures"])
