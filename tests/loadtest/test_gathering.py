"""A generator that fails or is not ready is missing, however fast the others are.

Locust patches the standard library for gevent, so each case runs in a process of its own.
"""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT

GATHERED = """
import json, sys
from loadtest.gathering import READY_SECONDS, WAIT_SECONDS, Gathering

class Runner:
    def send_message(self, name, data):
        self.sent = name

found, runner = Gathering(2), Runner()
for event, node in json.loads(sys.argv[1]):
    if event == "ready":
        found.note_ready(runner, node)
    else:
        found.note_broken(node, event)
over = [found.is_over(runner, seconds) for seconds in (1.0, READY_SECONDS + 1)]
print(json.dumps([over, found.missing(), found.none_can_begin, WAIT_SECONDS > READY_SECONDS]))
"""


def gathered(*events: tuple[str, str]) -> list[Any]:
    command = [sys.executable, "-c", GATHERED, json.dumps(events)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=True)
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("is_first", [True, False])
def test_a_generator_that_fails_is_missing_whether_or_not_the_others_were_ready_before(is_first: bool) -> None:
    events = [("no credentials", "a_1"), ("ready", "b_1")]
    over, missing, none_can_begin, _ = gathered(*(events if is_first else events[::-1]))
    assert over == [True, True] and not none_can_begin
    assert missing == "1 of 2 load generators is missing: one on a failed: no credentials"


def test_the_test_goes_on_until_it_is_known_whether_another_generator_is_ready() -> None:
    over, _, none_can_begin, _ = gathered(("no image", "a_1"))
    assert over == [False, True] and none_can_begin


def test_generators_wait_longer_than_the_master_for_one_that_is_never_ready() -> None:
    over, missing, none_can_begin, is_longer = gathered(("ready", "a_1"))
    assert over == [False, True] and missing == "1 of 2 load generators is missing: 1 did not begin in time"
    assert is_longer and not none_can_begin
