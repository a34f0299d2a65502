"""Write docs/benchmarks.md and the table of README.md from the results files; `make docs` runs it.

    python -m benchmarks.table          # write both
    python -m benchmarks.table --show   # print the page

Figures that a benchmark recorded come from `benchmarks/results/*.json`. Those of before it recorded any were copied by
hand, with what is known of them: they are in `benchmarks/results/transcribed/` and are shown as transcribed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import RESULTS, Figure, Result, machine_slug, read_results

ROOT = Path(__file__).resolve().parents[1]
PAGE, README = ROOT / "docs" / "benchmarks.md", ROOT / "README.md"
TRANSCRIBED = RESULTS / "transcribed"
BEGIN, END = "<!-- figures: python -m benchmarks.table -->", "<!-- end of figures -->"
MACHINES = {"epyc": "2 × AMD EPYC", "xeon": "2 × Intel Xeon, AMX"}
"""The machines of README's table, of two cores, by a word of their name; the one that most people have comes first."""


@dataclass(frozen=True)
class Section:
    """A section of the page: its title, the file of what was transcribed, and the benchmarks that it shows."""

    title: str
    transcribed: str
    benchmarks: tuple[str, ...] = ()


SECTIONS = (
    Section("Training", "training", ("training_loop", "two_instances", "tuning", "gpu")),
    Section("Staging to S3", "staging", ("staging", "cloud_staging")),
    Section("Serving", "serving", ("serving", "inference_threads")),
    Section("The Lambda function", "lambda", ("lambda_handler", "lambda_invoke")),
    Section("localaws", "localaws", ("localaws_front", "scale_out", "console")),
    Section("S3 in localaws", "s3", ("localaws_s3",)),
    Section("Load generator", "load", ("locust_clients",)),
    Section("SSH", "ssh", ("ssh_transfer",)),
    Section("The demo and the command", "demo"),
    Section("IAM", "iam", ("iam",)),
    Section("The audit", "audit"),
    Section("Data capture, shadow variants, drift", "drift"),
    Section("Other figures in the decisions", "decisions"),
    Section("Not measured", "not_measured"),
)


@dataclass(frozen=True)
class Headline:
    """A row of README's table: the figure of a benchmark, which is a ratio, and its goal on either machine."""

    what: str
    against: str
    benchmark: str
    figure: str
    goal: str


_LOOP = "the reference loop (extrapolated)"
HEADLINES = (
    Headline("training, EfficientNet-Lite0, 8,351 photos, 10 epochs", _LOOP, "training_loop", "efficientnet_lite0", ""),
    Headline("training, ResNet50, the same", _LOOP, "training_loop", "resnet50", "60×, 100×"),
    Headline("training, 159 photos, both really run", "the reference loop", "training_loop", "159 photos", ""),
    Headline("two instances instead of one", "one instance", "two_instances", "embedding", "1.9×"),
    Headline("staging JPEGs to S3", "`aws s3 sync`", "staging", "staging", "10×"),
    Headline("serving ResNet50, requests a second", "FastAPI, Pillow, torch eager", "serving", "rate", "6×, 15×"),
    Headline("Lambda handler, cold", "boto3", "lambda_handler", "cold start", "6×"),
    Headline("Lambda handler, client time of a warm call", "boto3", "lambda_handler", "client time", "4×"),
    Headline("load generator, requests a core", "Locust's HttpUser", "locust_clients", "kennel", "4.5×"),
    Headline("a file of 200 MB over SSH", "paramiko's SFTP", "ssh_transfer", "SFTP, 200 MB", "2.5×"),
)

INTRODUCTION = """\
# Benchmarks

This page is made by `python -m benchmarks.table` from the files in `benchmarks/results/`. A benchmark writes its file
with `--record`: the command, the commit, the date, the machine and its load before, and for each figure the number of
measurements (n) with the least, the median and the most. Figures of before that are **transcribed**: copied by hand,
with what is known of them. Where something was not written down at the time, it says "not recorded".

How we measure: what we compare takes turns in one run (A, B, A, B), the figure is a median, and a check beside it
proves that both did the same work (same digests, same top-1, same counts). We quote ratios, because seconds depend
on the machine. The other side is the code that a user would write, and its benchmark contains it.

Machines:

- **EPYC**: 2 cores of an AMD EPYC without AMX, Linux x86-64: what most people have.
- **Xeon**: 2 cores of an Intel Xeon with AMX (bfloat16 in hardware), Linux x86-64, Python 3.11, torch 2.13.
- **busy Xeon**: the same Xeon while other work kept its cores busy; the load is given.

Run one yourself: `.venv/bin/python -m benchmarks.<name>`. Dates are those of the commit that recorded the figure.
"""


def main() -> None:
    """Write both documents, or print the page."""
    results = read_results()
    if "--show" in sys.argv:
        print(page(results))
        return
    PAGE.write_text(page(results))
    README.write_text(with_table(README.read_text(), headline_table(results)))


def page(results: Sequence[Result]) -> str:
    """Return docs/benchmarks.md."""
    sections = (f"\n## {each.title}\n\n{_section(each, results)}" for each in SECTIONS)
    return INTRODUCTION + "".join(sections)


def with_table(text: str, table: str) -> str:
    """Return a document whose marked part is the table.

    Raises:
        ValueError: it has no marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{README.name} has no part between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}{END}{after}"


def headline_table(results: Sequence[Result]) -> str:
    """Return README's table, of both machines; what is transcribed has a mark."""
    rows = [[row.what, row.against, *(_cell(row, word, results) for word in MACHINES), row.goal] for row in HEADLINES]
    return _markdown(["what", "against", *MACHINES.values(), "goal"], rows)


def _cell(row: Headline, word: str, results: Sequence[Result]) -> str:
    """Return the ratio that was recorded on a machine, or else the one that was transcribed."""
    slugs = ((each, machine_slug(each.machine)) for each in results if each.benchmark == row.benchmark)
    own = (each for each, slug in slugs if slug.startswith("2-") and word in slug.split("-"))
    found = [figure for each in own for figure in each.figures if figure.what == row.figure and figure.unit == "x"]
    if found:
        return f"**{_number(found[0].value)}×**"
    old = json.loads((TRANSCRIBED / "headlines.json").read_text())
    value = old.get(f"{row.benchmark}: {row.figure}", {}).get(word)
    return f"{value}× ¹" if value else "not measured"


def _section(section: Section, results: Sequence[Result]) -> str:
    measured = [_measured(each) for name in section.benchmarks for each in results if each.benchmark == name]
    text = (TRANSCRIBED / f"{section.transcribed}.md").read_text()
    mark = "**Transcribed:**\n\n" if section.benchmarks else ""
    return "\n".join([*measured, f"{mark}{text}"])


def _measured(result: Result) -> str:
    head = f"`{result.command}`, {result.date}, commit {result.commit}:\n{result.machine}, load {result.load:g} before."
    table = _markdown(["what", "median", "least to most", "n", "goal"], (_row(each) for each in result.figures))
    return "\n".join([head, "", table, *(f"{note}\n" for note in result.notes)])


def _row(figure: Figure) -> list[str]:
    unit = {"x": "×", "": ""}.get(figure.unit, f" {figure.unit}")
    spread = ""
    if figure.least is not None and figure.most is not None and figure.n > 1:
        spread = f"{_number(figure.least)} to {_number(figure.most)}"
    return [figure.what, f"{_number(figure.value)}{unit}", spread, f"{figure.n:,}", figure.goal.removeprefix("goal ")]


def _number(value: float) -> str:
    """Return a number with three digits that count, or as a whole number."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    main()
