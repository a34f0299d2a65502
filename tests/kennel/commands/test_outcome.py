"""The end of a command's output: verdicts, colours, widths, `--quiet`, and commands to copy."""

import io
import shlex
import subprocess
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from kennel.commands.outcome import next_lines, verdict_lines
from kennel.terminal import console
from tasks.run.records import FunctionRef
from tasks.verdicts.verdicts import Verdict
from tests.kennel.shell import Terminal

STATES = ("PASS", "PASS", "FAIL", "INCONCLUSIVE")


def verdict(state: str, number: int = 0) -> Verdict:
    return Verdict(
        name=f"verdict-{number}",
        choice="target_value",
        what=f"the p95 of hypothesis {number}",
        predicted=100.0,
        low=0.0,
        high=200.0,
        observed=None if state == "INCONCLUSIVE" else 212.0,
        unit="ms",
        state=state,  # type: ignore[arg-type]
        margin=None,
        recommended=None,
        why="the machine was 900 ms late at second 12",
    )


FUNCTION = FunctionRef(
    name="kennel-dogs-1a2b3c4d-classify",
    arn="arn:aws:lambda:us-east-1:123456789012:function:kennel-dogs-1a2b3c4d-classify",
    version="1",
    alias="live",
    alias_arn="arn:aws:lambda:us-east-1:123456789012:function:kennel-dogs-1a2b3c4d-classify:live",
    role_name="r",
    role_arn="arn:aws:iam::123456789012:role/r",
    code_sha256="0" * 44,
    endpoint_name="kennel-dogs-1a2b3c4d-endpoint",
)


def test_verdicts_are_a_count_and_a_line_for_each_that_did_not_pass() -> None:
    lines = verdict_lines([verdict(state, number) for number, state in enumerate(STATES)])
    assert lines[0] == "2 of 4 verdicts passed"
    assert [line.split()[0] for line in lines[1:]] == ["FAIL", "INCONCLUSIVE"]
    assert "212 ms, predicted 0 ms to 200 ms" in lines[1]
    assert "not observed, predicted" in lines[2]


def test_what_comes_next_has_the_real_names_and_its_photo_can_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_dir = Path("runs/dogs-1a2b3c4d")
    (run_dir / "loadtest-images").mkdir(parents=True)
    (run_dir / "loadtest-images" / "a dog.jpg").write_bytes(b"photo")
    lines = next_lines(run_dir, FUNCTION, tmp_path / "home", is_local=True)
    assert max(map(len, lines)) <= 80
    script = "\n".join(lines[1 : lines.index("Look at it:")])
    stand_in = 'eval() { :; }; aws() { printf "%s\\n" "$@"; }\n'
    asked = subprocess.run(["bash", "-c", stand_in + script], capture_output=True, text=True, check=True).stdout
    assert asked.split("\n")[2:-2] == [
        *("--qualifier", "live", "--function-name", FUNCTION.name, "--payload", '{"image": "cGhvdG8="}'),
    ]
    assert "  kennel status dogs-1a2b3c4d" in lines and "  kennel down --yes" in lines
    assert shlex.split(lines[-1]) == ["kennel", "down", "--yes"]


def printed(monkeypatch: pytest.MonkeyPatch, show: Callable[[], None], **environment: str) -> list[str]:
    """Return what is written to a stdout of 80 columns."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"COLUMNS": "80", **environment}.items():
        monkeypatch.setenv(name, value)
    with redirect_stdout(io.StringIO()) as out:
        show()
    return out.getvalue().splitlines()


def test_a_table_fits_80_columns_and_breaks_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "one instance has no other to take over " * 8
    rows = {"the load test and its verdicts": text, "run": "dogs-1a2b3c4d"}
    lines = printed(monkeypatch, lambda: console.print_table("kennel run dogs-1a2b3c4d", rows))
    assert max(map(len, lines)) <= 80
    words = {word for line in lines for word in line.replace("│", " ").split()}
    assert set(text.split()) <= words


def test_lines_of_verdicts_fit_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = verdict_lines([verdict(state, number) for number, state in enumerate(STATES)])
    lines = printed(monkeypatch, lambda: console.print_lines(verdicts))
    assert len(lines) == 3 and max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)


def test_verdicts_have_their_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    states = ["PASS", "FAIL", "INCONCLUSIVE", "PASSENGER"]
    lines = printed(monkeypatch, lambda: console.print_lines(states), FORCE_COLOR="1", TERM="xterm-256color")
    passed, failed, inconclusive, other = lines
    assert "\x1b[32m" in passed and "31m" in failed and "\x1b[33m" in inconclusive and "\x1b" not in other


def test_quiet_and_verbose_together_are_refused(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    done = terminal.kennel("up", "-q", "-v")
    assert done.code == 2 and "--quiet with --verbose" in done.err
    assert not terminal.home.exists()


def test_quiet_shows_errors_only(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    done = terminal.kennel("run", "--data", "/nowhere", "--quiet")
    assert done.code == 3 and done.out == ""
    assert done.err.lstrip("\n").startswith("kennel: source: /nowhere")
