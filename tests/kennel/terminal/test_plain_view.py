"""The plain view: it prints lines, no line for each step, and the current work when no line comes."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from kennel.terminal.plain_view import PlainView, wrapped
from kennel.terminal.run_log import NAME, RunLog
from kennel.terminal.screen import Screen
from kennel.terminal.stages import SERVERS, CommandStages
from tasks.run.progress import LOGGER, LoggedProgress, Stage, Step, log_stage, log_step
from tests.polling import wait_until


class Watched:
    """A view on a clock of the test's, whose lines are kept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.out = io.StringIO()
        self.stages = CommandStages((SERVERS, "loadtest"), {}, clock=lambda: self.now)
        self.view = PlainView(self.stages, breaks_silence=True, out=self.out, clock=lambda: self.now)

    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()

    def wait_for(self, text: str) -> None:
        wait_until(self.out.getvalue, f"{text!r} among the lines", holds=lambda shown: text in shown)


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.view.close(is_finished=True)


def test_steps_are_not_lines_until_nine_seconds_were_silent(watched: Watched) -> None:
    watched.view.stage(Stage("loadtest", "begins"))
    for second in range(0, 9, 2):
        watched.now = float(second)
        watched.view.step(Step("load test", second, 39, "s", f"{10 * second} answered"))
    assert len(watched.lines()) == 1
    watched.now = 9.5
    watched.wait_for("9.5 s  load test: 8 of 39 s, 80 answered")


def test_a_silence_is_broken_by_what_goes_on(watched: Watched) -> None:
    watched.view.stage(Stage(SERVERS, "begins"))
    watched.now = 2.6
    watched.wait_for("2.6 s  start the servers: 3 s of about 6 s")
    watched.view.stage(Stage(SERVERS, "done", 2.6))
    watched.view.stage(Stage("loadtest", "begins"))
    watched.now = 12.0
    watched.wait_for("load-test: 9 s of about 90 s")
    assert "stage 2 of 2, load-test: begins, about 90 s (estimate)" in watched.out.getvalue()


def test_a_command_without_stages_is_not_silent_either() -> None:
    now, out = 0.0, io.StringIO()
    view = PlainView(CommandStages((), {}), breaks_silence=True, out=out, clock=lambda: now)
    try:
        view.step(Step("bytecode", 4_000, 22_000, "files"))
        now = 9.5
        wait_until(out.getvalue, "the step", holds=lambda shown: "9.5 s  bytecode: 4,000 of 22,000 files" in shown)
    finally:
        view.close(is_finished=True)


def test_a_step_that_is_over_is_not_told_later_as_if_it_went_on(watched: Watched) -> None:
    watched.view.stage(Stage("loadtest", "begins"))
    watched.view.step(Step("upload", 5_000_000, 5_000_000, "B", "done, 0.1 s"))
    watched.now = 9.5
    watched.wait_for("load-test: 10 s")
    assert "upload" not in watched.out.getvalue()


def test_lines_are_wrapped_at_words_under_their_text_and_long_words_are_kept_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    path = "runs/" + "x" * 90
    text = wrapped(f"one two three {path} four", lead="    1.0 s  ")
    assert text.splitlines() == ["    1.0 s  one two three", f"           {path}", "           four"]


def test_a_command_to_copy_is_never_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    command = "  ssh -i key -o 'KnownHostsCommand=/bin/echo x' " + "-o Option=yes " * 9
    assert wrapped(command, lead="    1.0 s  ") == f"    1.0 s  {command}"


def test_everything_is_in_the_log_with_its_time_and_the_log_makes_no_folder(tmp_path: Path, watched: Watched) -> None:
    screen, run_dir = Screen(watched.view, RunLog(), shows_all=False), tmp_path / "run"
    screen.log.set_run(run_dir)
    before = LOGGER.handlers[:], LOGGER.level, LOGGER.propagate
    LOGGER.handlers[:], LOGGER.propagate = [screen], False
    LOGGER.setLevel("DEBUG")
    try:
        log_stage(Stage("loadtest", "begins"))
        LOGGER.info("algo-1 | Training Container Execution Completed")
        assert not run_dir.exists()
        run_dir.mkdir()
        log_step(Step("load test", 1, 2, "s"))
    finally:
        LOGGER.handlers[:], LOGGER.propagate = before[0], before[2]
        LOGGER.setLevel(before[1])
    lines = (run_dir / NAME).read_text().splitlines()
    assert [line[26:] for line in lines] == [
        "loadtest: begins",
        "algo-1 | Training Container Execution Completed",
        "load test: 1 of 2 s",
    ]
    assert all(line[4] == line[7] == "-" and line[23] == "Z" for line in lines)
    assert "Completed" not in watched.out.getvalue()


class Kept(logging.Handler):
    """Keeps what is said; pytest's own handler may be on the logger twice once Prefect has set it up."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_a_counted_step_tells_its_end() -> None:
    before, kept = (LOGGER.handlers[:], LOGGER.level), Kept()
    LOGGER.handlers[:] = [kept]
    LOGGER.setLevel(logging.DEBUG)
    try:
        with LoggedProgress("upload", 10, "images", clock=lambda: 0.0) as told:
            told.advance(10)
    finally:
        LOGGER.handlers[:] = before[0]
        LOGGER.setLevel(before[1])
    assert kept.lines == ["upload: 10 of 10 images, done, 0.0 s"]
