"""The documentation against the code: every error and exit code is explained, every index and link leads somewhere.

Covered: README.md, CHANGELOG.md, CONTRIBUTING.md and docs/*.md. Not covered: links that leave the repository.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.run.errors import KennelError
from tests.test_architecture import TASKS_ROOMS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [path for name in ("README", "CHANGELOG", "CONTRIBUTING") if (path := ROOT / f"{name}.md").is_file()]
PAGES += sorted(DOCS.glob("*.md"))
CODES_OF_THE_COMMAND = {0, 2, 12, 129, 130, 141, 143}
"""Exit codes that no error class has, or that the command gives by itself as well."""


FAULTS = {
    "A": {*range(1, 13), 15},
    "B": {*range(1, 9), 10, 11, 12, 14, 15},
    "C": {*range(1, 8), *range(9, 14)},
    "D": {1, 2, 3, *range(5, 14)},
    "E": {1, 2, 3, *range(5, 15), 16},
    "F": {1, 2, 3, 4, *range(6, 17)},
    "G": {*range(1, 9), *range(10, 18)},
    "H": {1, 2, 3, *range(5, 10)},
    "I": {1, 2, 3, 5},
    "J": {1, 2, 3, 4, 5, 7},
    "K": {*range(1, 42)},
}
"""The faults that docs/faults.md lists, by section. A number is never used again."""


def errors_below(kind: type[KennelError]) -> Iterator[type[KennelError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from errors_below(each)


def public_errors() -> list[type[KennelError]]:
    return [kind for kind in errors_below(KennelError) if not kind.__name__.startswith("_")]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("kind", public_errors(), ids=lambda kind: kind.__name__)
def test_troubleshooting_explains_every_error_with_its_exit_code(kind: type[KennelError]) -> None:
    text = (DOCS / "troubleshooting.md").read_text()
    section = re.search(rf"^### {kind.__name__}\n\nExit code (\d+)\.", text, flags=re.MULTILINE)
    assert section is not None, f"docs/troubleshooting.md has no section for {kind.__name__}"
    assert int(section[1]) == kind.exit_code


def test_troubleshooting_lists_exactly_the_exit_codes_that_exist() -> None:
    table = (DOCS / "troubleshooting.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)}
    assert listed == CODES_OF_THE_COMMAND | {kind.exit_code for kind in public_errors()}


def test_every_decision_is_in_the_index_and_has_its_three_parts() -> None:
    text = (DOCS / "decisions.md").read_text()
    decisions = re.findall(r"^## (\d{4}-\d{2}-\d{2}) (.+)$", text, flags=re.MULTILINE)
    assert re.findall(r"^- (\d{4}-\d{2}-\d{2}) \[(.+)\]\[d\d+\]$", text, flags=re.MULTILINE) == decisions
    assert [date for date, _ in decisions] == sorted((date for date, _ in decisions), reverse=True)
    for part in ("Context", "Decision", "Result"):
        assert text.count(f"**{part}.** ") == len(decisions)


def test_the_architecture_page_shows_what_each_folder_of_tasks_may_import() -> None:
    section = (DOCS / "architecture.md").read_text().partition("### Inside tasks/")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", section, flags=re.MULTILINE)
    assert {folder: _rooms(folder, allowed) for folder, allowed in rows} == TASKS_ROOMS


def _rooms(folder: str, allowed: str) -> set[str]:
    """Return the rooms that a cell of the table names: "nothing", some, or "all but" some, of which it is none."""
    named = set(allowed.removeprefix("all but ").split(", ")) - {"nothing"}
    return set(TASKS_ROOMS) - {folder} - named if allowed.startswith("all but ") else named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    text = page.read_text()
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, flags=re.MULTILINE)
    lost = []
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_files_that_a_page_names_exist(page: Path) -> None:
    rooms = "flows|tasks|training|lambda|loadtest|localaws|kennel|tests|benchmarks"
    named = set(re.findall(rf"`((?:{rooms})/[\w/]+\.py)`", page.read_text()))
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_is_longer_than_120_characters(page: Path) -> None:
    long = [number for number, line in enumerate(page.read_text().splitlines(), 1) if len(line) > 120]
    assert long == []


def rows_of_faults() -> list[tuple[str, str]]:
    """Return the id and the text of every row of docs/faults.md."""
    text = re.sub(r"^## .+$", "", (DOCS / "faults.md").read_text(), flags=re.MULTILINE)
    parts = re.split(r"^- \*\*([A-Z]\d+)\*\* ", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def test_every_fault_stands_once_in_its_section() -> None:
    expected = [f"{section}{number}" for section, numbers in FAULTS.items() for number in sorted(numbers)]
    assert [name for name, _ in rows_of_faults()] == expected


def test_every_fault_names_tests_that_exist_or_says_that_there_is_none_yet() -> None:
    lost = []
    for name, row in rows_of_faults():
        file, tests = "", 0
        for word in re.findall(r"`([\w/.]+)`", row):
            if word.endswith(".py"):
                file = word
            elif word.startswith("test_"):
                tests += 1
                exists = file and re.search(rf"^ *(async )?def {word}\(", (ROOT / file).read_text(), flags=re.MULTILINE)
                lost += [] if exists else [f"{name}: {file} has no {word}"]
        if bool(tests) == ("\n  None yet.\n" in row):
            lost.append(f"{name} has neither tests nor the words, or both")
    assert lost == []


def test_the_changelog_has_each_heading_and_entry_once_a_release() -> None:
    for release in (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1:]:
        lines = [line for line in release.splitlines() if line.startswith(("### ", "- "))]
        assert [line for line in lines if lines.count(line) > 1] == []
