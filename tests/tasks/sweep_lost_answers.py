"""`make sweep`: each changing operation alone, its answer lost once or for good, and what became of it.

Not part of `make test`: it takes minutes. The table goes to docs/sweep.md.
"""

import platform
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tasks.run.aws import Aws
from tasks.run.errors import KennelError
from tasks.run.handle import Run
from tasks.teardown.all_kinds import KINDS
from tasks.teardown.teardown import tear_down
from tests.conftest import running_localaws
from tests.counting_proxy import counting_proxy
from tests.lost_answers import Loss, LostAnswers
from tests.tasks.lost_answer_scenes import SCENES, account

pytestmark = pytest.mark.timeout(7200)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sweep.md"
LOSSES: tuple[Loss, ...] = ("once", "exhausted")
GOOD = "went on"
AGAIN = "exit 5, then again"
HEAD = """# Lost answers

Written by `make sweep`. Each operation that changes something in AWS was carried out by localaws, and its answer was
lost: the answer to the first attempt, so that botocore sends the call again, or the answers to all attempts of one
call. Each line is two rounds with that loss alone: kennel makes the things, then `kennel down` removes them. The
operations were found by recording. After each round nothing of kennel's was left.

- "{good}": the code saw that the call had been carried out, and went on.
- "{again}": the command ended with an error, and the same command finished.

{count} operations, {date}, Python {python}.

| scene | operation | first answer lost | all answers of a call lost |
|---|---|---|---|
"""


@pytest.fixture(scope="module")
def answers() -> Iterator[LostAnswers]:
    answers = LostAnswers()
    with running_localaws("--time-scale", "20") as server, counting_proxy(server.url, answers):
        yield answers


def test_every_changing_operation_with_every_loss(answers: LostAnswers, tmp_path: Path) -> None:
    lines, bad = [], []
    seen: set[str] = set()
    for scene in SCENES:
        for operation in sorted(record(answers, scene, tmp_path) - seen):
            seen.add(operation)
            results = [outcome(answers, scene, operation, loss, tmp_path) for loss in LOSSES]
            bad += [f"{operation}, {result}" for result in results if result not in {GOOD, AGAIN}]
            lines.append(f"| {scene} | `{operation}` | {results[0]} | {results[1]} |")
            print(lines[-1], flush=True)
    date = datetime.now(UTC).date().isoformat()
    head = HEAD.format(good=GOOD, again=AGAIN, count=len(lines), date=date, python=platform.python_version())
    PAGE.write_text(head + "\n".join(lines) + "\n")
    assert bad == []


def record(answers: LostAnswers, scene: str, folder: Path) -> set[str]:
    """Play a scene and its teardown without a loss; return its changing operations."""
    answers.forget(None)
    aws = account(answers.url, folder)
    SCENES[scene](Run(aws, f"{scene}-recorded"))
    tear_down(aws, None, yes=True, say=lambda _: None)
    return set(answers.recorded)


def outcome(answers: LostAnswers, scene: str, operation: str, loss: Loss, folder: Path) -> str:
    """Play a scene and its teardown with one loss; return in words what came of it."""
    answers.forget(loss, frozenset({operation}))
    aws = account(answers.url, folder)
    name = f"{scene}-{abs(hash((operation, loss))) % 10**6}"
    try:
        failures = [attempted(lambda: SCENES[scene](Run(aws, name))), attempted(lambda: remove_all(aws))]
    except (KennelError, ClientError, BotoCoreError) as error:
        remove_all(aws)
        return f"FAILED: {error}".splitlines()[0]
    left = sorted(item.key for kind in KINDS.values() for item in kind.find_tagged(aws))
    if left or not answers.lost:
        return f"FAILED: left {left}, lost {sorted(answers.lost)}"
    return AGAIN if any(failures) else GOOD


def attempted(play: Callable[[], object]) -> bool:
    """Play, again if that fails; tell whether it failed the first time."""
    try:
        play()
    except (KennelError, ClientError, BotoCoreError) as error:
        print("   ", error, flush=True)
        play()
        return True
    return False


def remove_all(aws: Aws) -> None:
    tear_down(aws, None, yes=True, say=lambda _: None)
